import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'tap'
import { AUTH_VARIABLES, authOption, readAuthOptions, type AuthSettings } from '../../src/auth/options.ts'
import { outcome } from '../support/outcome.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const NOWHERE = '/nonexistent/namespace'
const LEAST: AuthSettings = { NAMESPACE: 'connectors-system', OIDC_ISSUER_URL: 'https://issuer.example.com', OIDC_CLIENT_ID: 'workspaces' }
const read = (settings: AuthSettings = {}): ReturnType<typeof readAuthOptions> => readAuthOptions({ ...LEAST, ...settings }, NOWHERE)

const DEFAULT_ROUTING = {
  mode: 'path',
  appPath: { source: '^(/workspaces/[^/]+/[^/]+)(?:/.*)?$' },
  namespace: { source: '^/workspaces/([^/]+)/[^/]+' },
  name: { source: '^/workspaces/[^/]+/([^/]+)' },
}

await test('the defaults', (t) => {
  const { proxies, routing, ...options } = read()
  t.match(routing, DEFAULT_ROUTING)
  t.strictSame(options, {
    host: '::',
    port: 8080,
    metrics: { host: '::', port: 9090 },
    probe: { host: '::', port: 9091 },
    readTimeoutMs: 10_000,
    writeTimeoutMs: 10_000,
    shutdownTimeoutMs: 30_000,
    namespace: 'connectors-system',
    jwt: { secretName: 'authmiddleware-secrets', issuer: 'workspaces-auth', audience: 'workspace-users', ttlMs: 3_600_000, newKeyUseDelayMs: 5_000 },
    refresh: { enabled: false, windowMs: 900_000, horizonMs: 43_200_000 },
    enableOauth: true,
    enableBearerUrlAuth: false,
    enableLogin: false,
    cookie: { name: 'workspace_auth', path: '/', secure: true, sameSite: 'lax', httpOnly: true, maxAgeSeconds: 86_400 },
    oidc: {
      issuerUrl: 'https://issuer.example.com',
      clientId: 'workspaces',
      allowHttpLoopback: false,
      usernamePrefix: '',
      groupsPrefix: '',
      addAuthenticatedGroup: false,
      initTimeoutMs: 30_000,
    },
    warnings: [],
  })
  t.ok(proxies.trusts('127.0.0.1') && proxies.trusts('::1'))
  t.notOk(proxies.trusts('10.0.0.1'))
  t.end()
})

await test('every setting has an option of the same name', (t) => {
  t.equal(authOption('JWT_NEW_KEY_USE_DELAY').flags, '--jwt-new-key-use-delay <duration>')
  for (const variable of AUTH_VARIABLES) t.match(authOption(variable).flags, /^--[a-z-]+ <[^>]+>$/)
  t.end()
})

await test('what is set counts, and empty text does not', (t) => {
  const cases: [settings: AuthSettings, expected: object][] = [
    [{ LISTEN_HOST: '127.0.0.1' }, { host: '127.0.0.1' }],
    [{ PORT: '0', METRICS_ADDR: '127.0.0.1:0', PROBE_ADDR: '[::1]:9000' }, { port: 0, metrics: { host: '127.0.0.1', port: 0 }, probe: { host: '::1', port: 9000 } }],
    [{ PORT: '', JWT_EXPIRATION: '  ' }, { port: 8080, jwt: { ttlMs: 3_600_000 } }],
    [{ READ_TIMEOUT: '1m30s', WRITE_TIMEOUT: '500ms', SHUTDOWN_TIMEOUT: '1h' }, { readTimeoutMs: 90_000, writeTimeoutMs: 500, shutdownTimeoutMs: 3_600_000 }],
    [{ NEW_KEY_USE_DELAY: '0s' }, { jwt: { newKeyUseDelayMs: 0 } }],
    [{ NEW_KEY_USE_DELAY: '0' }, { jwt: { newKeyUseDelayMs: 0 } }],
    [{ JWT_NEW_KEY_USE_DELAY: '7s' }, { jwt: { newKeyUseDelayMs: 7_000 } }],
    [{ JWT_NEW_KEY_USE_DELAY: '7s', NEW_KEY_USE_DELAY: '3s' }, { jwt: { newKeyUseDelayMs: 3_000 } }],
    [{ JWT_REFRESH_ENABLE: 'T', JWT_REFRESH_WINDOW: '1h', JWT_REFRESH_HORIZON: '1h' }, { refresh: { enabled: true, windowMs: 3_600_000, horizonMs: 3_600_000 } }],
    [{ JWT_EXPIRATION: '10m' }, { jwt: { ttlMs: 600_000 }, refresh: { enabled: false } }],
    [{ JWT_EXPIRATION: '24h' }, { jwt: { ttlMs: 86_400_000 }, refresh: { enabled: false } }],
    [{ ENABLE_OAUTH: 'false', OIDC_ISSUER_URL: '', OIDC_CLIENT_ID: '' }, { enableOauth: false, oidc: undefined }],
    [{ ENABLE_LOGIN: '1', OIDC_CLIENT_SECRET: 'hidden', OIDC_SCOPES: 'openid email' }, { enableLogin: true, oidc: { clientSecret: 'hidden', scope: 'openid email' } }],
    [{ COOKIE_SAME_SITE: 'NONE' }, { cookie: { sameSite: 'none' } }],
    [{ COOKIE_SAME_SITE: 'Strict', COOKIE_SECURE: '0', COOKIE_HTTP_ONLY: 'F', COOKIE_MAX_AGE: '90s', COOKIE_NAME: 'ws' }, { cookie: { name: 'ws', sameSite: 'strict', secure: false, httpOnly: false, maxAgeSeconds: 90 } }],
    [{ COOKIE_DOMAIN: 'example.com' }, { warnings: ['COOKIE_DOMAIN has no effect: the session cookie is for its own host alone'] }],
    [{ OIDC_USERNAME_PREFIX: 'github:', OIDC_GROUPS_PREFIX: '-' }, { oidc: { usernamePrefix: 'github:', groupsPrefix: '' } }],
    [{ ROUTING_MODE: 'subdomain' }, { routing: { mode: 'subdomain', appPath: { source: '^(/)' }, namespace: { source: '^([^-]+)-.*' }, name: { source: '^[^-]+-(.*)$' } } }],
    [{ ROUTING_MODE: 'subdomain', COOKIE_NAME: '__Host-ws' }, { cookie: { name: '__Host-ws' } }],
    [{ PATH_REGEX_PATTERN: '^(/w/[^/]+/[^/]+)', WORKSPACE_NAME_PATH_REGEX: '^/w/[^/]+/([^/]+)' }, { routing: { appPath: { source: '^(/w/[^/]+/[^/]+)' }, name: { source: '^/w/[^/]+/([^/]+)' } } }],
  ]
  for (const [settings, expected] of cases) t.match(read(settings), expected, JSON.stringify(settings))
  t.end()
})

const WRONG: [settings: AuthSettings, message: string][] = [
  [{ PORT: 'http' }, 'PORT (--port) must be a port from 0 to 65535; got "http"'],
  [{ PORT: '70000' }, 'PORT (--port) must be a port from 0 to 65535; got "70000"'],
  [{ METRICS_ADDR: '9090' }, 'METRICS_ADDR (--metrics-addr) must be an address to listen on, such as :9090 or 127.0.0.1:9090; got "9090"'],
  [{ PROBE_ADDR: '[x]:1' }, 'PROBE_ADDR (--probe-addr) must be an address to listen on, such as :9090 or 127.0.0.1:9090; got "[x]:1"'],
  [{ READ_TIMEOUT: '0s' }, 'READ_TIMEOUT (--read-timeout) must be longer than nothing; got "0s"'],
  [{ READ_TIMEOUT: '-1s' }, 'READ_TIMEOUT (--read-timeout) must be a duration with its unit, such as 30s or 1h30m; got "-1s"'],
  [{ WRITE_TIMEOUT: 'soon' }, 'WRITE_TIMEOUT (--write-timeout) must be a duration with its unit, such as 30s or 1h30m; got "soon"'],
  [{ NEW_KEY_USE_DELAY: '5' }, 'NEW_KEY_USE_DELAY (--new-key-use-delay) must be a duration with its unit, such as 30s or 1h30m; got "5"'],
  [{ TRUSTED_PROXIES: 'nginx' }, 'TRUSTED_PROXIES (--trusted-proxies) must be addresses or CIDRs joined by commas, such as 10.0.0.0/8,::1; got "nginx"'],
  [{ NAMESPACE: '' }, 'NAMESPACE (--namespace) must be set outside a Pod: it says where the Secret with the signing keys is'],
  [{ NAMESPACE: 'Big' }, 'NAMESPACE (--namespace) must be lower case letters, digits and "-", beginning and ending with a letter or digit; got "Big"'],
  [{ JWT_SIGNING_TYPE: 'kms' }, 'JWT_SIGNING_TYPE (--jwt-signing-type) must be one of standard; got "kms"'],
  [{ JWT_EXPIRATION: '0s' }, 'JWT_EXPIRATION (--jwt-expiration) must be at least 1s; got "0s"'],
  [{ JWT_REFRESH_ENABLE: 'maybe' }, 'JWT_REFRESH_ENABLE (--jwt-refresh-enable) must be true or false; got "maybe"'],
  [{ JWT_REFRESH_ENABLE: 'true', JWT_EXPIRATION: '10m' }, 'JWT_REFRESH_WINDOW (--jwt-refresh-window) must not be longer than JWT_EXPIRATION'],
  [{ JWT_REFRESH_WINDOW: '2h' }, 'JWT_REFRESH_WINDOW (--jwt-refresh-window) must not be longer than JWT_EXPIRATION'],
  [{ JWT_REFRESH_HORIZON: '30m' }, 'JWT_REFRESH_HORIZON (--jwt-refresh-horizon) must not be shorter than JWT_EXPIRATION'],
  [{ ENABLE_OAUTH: 'yes' }, 'ENABLE_OAUTH (--enable-oauth) must be true or false; got "yes"'],
  [{ ROUTING_MODE: 'header' }, 'ROUTING_MODE (--routing-mode) must be one of path, subdomain; got "header"'],
  [{ PATH_REGEX_PATTERN: '(' }, 'PATH_REGEX_PATTERN (--path-regex-pattern) is no regular expression (RE2): missing closing ): `(`'],
  [{ PATH_REGEX_PATTERN: '^(?=/)(.*)' }, 'PATH_REGEX_PATTERN (--path-regex-pattern) is no regular expression (RE2): invalid or unsupported Perl syntax: `(?=`'],
  [{ WORKSPACE_NAME_PATH_REGEX: '1' }, 'WORKSPACE_NAME_PATH_REGEX (--workspace-name-path-regex) must have exactly one group in parentheses, the part that is taken; got 0 in "1"'],
  [{ WORKSPACE_NAME_SUBDOMAIN_REGEX: '^(a)(b)$' }, 'WORKSPACE_NAME_SUBDOMAIN_REGEX (--workspace-name-subdomain-regex) must have exactly one group in parentheses, the part that is taken; got 2 in "^(a)(b)$"'],
  [{ COOKIE_NAME: 'a b' }, 'COOKIE_NAME (--cookie-name) must be the name of a cookie: letters, digits, "-", "_" and "."'],
  [{ COOKIE_NAME: '__Host-ws' }, 'COOKIE_NAME (--cookie-name) may begin with __Host- only where ROUTING_MODE is subdomain and COOKIE_PATH is /'],
  [{ COOKIE_NAME: '__Secure-ws', COOKIE_SECURE: 'false' }, 'COOKIE_NAME (--cookie-name) begins with a prefix that browsers take for secure cookies alone: set COOKIE_SECURE to true'],
  [{ COOKIE_PATH: 'x' }, 'COOKIE_PATH (--cookie-path) must be a path that begins with a slash and holds no spaces, commas or semicolons'],
  [{ COOKIE_SAME_SITE: 'never' }, 'COOKIE_SAME_SITE (--cookie-same-site) must be one of strict, lax, none; got "never"'],
  [{ COOKIE_SAME_SITE: 'none', COOKIE_SECURE: 'false' }, 'COOKIE_SAME_SITE (--cookie-same-site) may be none only where COOKIE_SECURE is true: browsers drop such a cookie'],
  [{ COOKIE_MAX_AGE: '10ms' }, 'COOKIE_MAX_AGE (--cookie-max-age) must be at least 1s; got "10ms"'],
  [{ OIDC_ISSUER_URL: '' }, 'OIDC_ISSUER_URL (--oidc-issuer-url) must be set: ENABLE_OAUTH or ENABLE_LOGIN is on, and they take tokens of that issuer'],
  [{ OIDC_ISSUER_URL: 'issuer' }, 'OIDC_ISSUER_URL (--oidc-issuer-url) must be a URL that begins with https://'],
  [{ OIDC_CLIENT_ID: '' }, 'OIDC_CLIENT_ID (--oidc-client-id) must be set: ENABLE_OAUTH or ENABLE_LOGIN is on, and tokens must be made for that client'],
  [{ OIDC_CLIENT_SECRET: 'hidden', OIDC_CLIENT_SECRET_FILE: '/file' }, 'OIDC_CLIENT_SECRET_FILE (--oidc-client-secret-file) must not be set together with OIDC_CLIENT_SECRET: give one of them'],
  [{ OIDC_SCOPES: 'profile' }, 'OIDC_SCOPES (--oidc-scopes) must hold openid: without it there is no ID token'],
  [{ OIDC_GROUPS_PREFIX: 'system:' }, 'OIDC_GROUPS_PREFIX (--oidc-groups-prefix) must not begin with "system:": such names are those of Kubernetes itself'],
  [{ OIDC_INIT_TIMEOUT_SECONDS: '0' }, 'OIDC_INIT_TIMEOUT_SECONDS (--oidc-init-timeout-seconds) must be a whole number from 1 to 3600; got "0"'],
  [{ OIDC_INIT_TIMEOUT_SECONDS: '5s' }, 'OIDC_INIT_TIMEOUT_SECONDS (--oidc-init-timeout-seconds) must be a whole number from 1 to 3600; got "5s"'],
]
await test('what is wrong is said in one sentence that names the setting', (t) => {
  for (const [settings, message] of WRONG) t.equal(outcome(() => read(settings)), `CONFIG_INVALID: ${message}`)
  t.end()
})

await test('a Pod knows its namespace', async (t) => {
  const file = join(await temporaryFolder(t), 'namespace')
  await writeFile(file, 'auth-system\n')
  t.equal(readAuthOptions({ ...LEAST, NAMESPACE: '' }, file).namespace, 'auth-system')
  t.equal(readAuthOptions(LEAST, file).namespace, 'connectors-system', 'what is set counts first')
})
