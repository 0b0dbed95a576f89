/** The settings of the auth middleware: environment variables, each also a command line option. */
import { DEFAULT_PATTERNS } from '../core/workspace-path.ts'
import { optionOf } from './setting-reader.ts'

interface Setting {
  /** As it would be given; left out: unset. */
  default?: string
  /** What stands for the value in the help. */
  value: string
  /** For the help. */
  words: string
}

const DURATION = 'duration'
const BOOLEAN = 'true|false'
const NUMBER = 'number'
const TEXT = 'text'
/** In the grammar of RE2, as in Go. */
const PATTERN = 're2'

/** Every setting, in the order of the help. */
const AUTH_SETTINGS = {
  LISTEN_HOST: { default: '::', value: 'address', words: 'address to serve on; :: is all of them' },
  PORT: { default: '8080', value: NUMBER, words: 'port for plain HTTP; 0 takes a free one' },
  METRICS_ADDR: { default: ':9090', value: 'host:port', words: 'where /metrics is served' },
  PROBE_ADDR: { default: ':9091', value: 'host:port', words: 'where /healthz and /readyz are served' },
  READ_TIMEOUT: { default: '10s', value: DURATION, words: 'how long a request may take to arrive' },
  WRITE_TIMEOUT: { default: '10s', value: DURATION, words: 'how long an answer may take, the questions to the API server included' },
  SHUTDOWN_TIMEOUT: { default: '30s', value: DURATION, words: 'after a signal to stop it ends within this time' },
  TRUSTED_PROXIES: { default: '127.0.0.1,::1', value: 'addresses', words: 'addresses and CIDRs of the reverse proxy, joined by commas; X-Forwarded headers of anybody else are refused' },
  NAMESPACE: { value: TEXT, words: 'namespace of the Secret with the signing keys; without it that of the Pod' },
  JWT_SECRET_NAME: { default: 'authmiddleware-secrets', value: TEXT, words: 'Secret with the signing keys' },
  JWT_SIGNING_TYPE: { default: 'standard', value: TEXT, words: 'how sessions are signed; there is standard alone' },
  JWT_ISSUER: { default: 'workspaces-auth', value: TEXT, words: 'issuer of session tokens' },
  JWT_AUDIENCE: { default: 'workspace-users', value: TEXT, words: 'audience of session tokens' },
  JWT_EXPIRATION: { default: '1h', value: DURATION, words: 'how long a session lasts' },
  JWT_REFRESH_ENABLE: { default: 'false', value: BOOLEAN, words: 'prolong sessions in use, after the access was asked about again' },
  JWT_REFRESH_WINDOW: { default: '15m', value: DURATION, words: 'how long before its end a session may be prolonged' },
  JWT_REFRESH_HORIZON: { default: '12h', value: DURATION, words: 'how long after the sign-in a session may be prolonged' },
  NEW_KEY_USE_DELAY: { default: '5s', value: DURATION, words: 'how long a new key is known before it signs, so that every replica knows it' },
  JWT_NEW_KEY_USE_DELAY: { value: DURATION, words: 'another name of NEW_KEY_USE_DELAY' },
  ENABLE_OAUTH: { default: 'true', value: BOOLEAN, words: 'serve /auth: sign in by an ID token' },
  ENABLE_BEARER_URL_AUTH: { default: 'false', value: BOOLEAN, words: 'serve /bearer-auth: sign in by the URL of a WorkspaceConnection' },
  ENABLE_LOGIN: { default: 'false', value: BOOLEAN, words: 'serve /login and /callback: sign in at the issuer without a login proxy' },
  ROUTING_MODE: { default: 'path', value: 'path|subdomain', words: 'what names a workspace: the path, or the first label of the host' },
  PATH_REGEX_PATTERN: { default: DEFAULT_PATTERNS.path.appPath, value: PATTERN, words: 'its group is the path of the application; where the host names the workspace, the default is all of its paths' },
  WORKSPACE_NAMESPACE_PATH_REGEX: { default: DEFAULT_PATTERNS.path.namespace, value: PATTERN, words: 'its group is the namespace in a path' },
  WORKSPACE_NAME_PATH_REGEX: { default: DEFAULT_PATTERNS.path.name, value: PATTERN, words: 'its group is the name in a path' },
  WORKSPACE_NAMESPACE_SUBDOMAIN_REGEX: { default: DEFAULT_PATTERNS.subdomain.namespace, value: PATTERN, words: 'its group is the namespace, in base32, in the first label of a host' },
  WORKSPACE_NAME_SUBDOMAIN_REGEX: { default: DEFAULT_PATTERNS.subdomain.name, value: PATTERN, words: 'its group is the name in the first label of a host' },
  COOKIE_NAME: { default: 'workspace_auth', value: TEXT, words: 'name of the session cookie' },
  COOKIE_SECURE: { default: 'true', value: BOOLEAN, words: 'send it over https alone; without it X-Forwarded-Proto may be http' },
  COOKIE_HTTP_ONLY: { default: 'true', value: BOOLEAN, words: 'hide it from scripts' },
  COOKIE_SAME_SITE: { default: 'lax', value: 'strict|lax|none', words: 'when browsers send it along from other sites' },
  COOKIE_PATH: { default: '/', value: TEXT, words: 'its path where the application has all of the host' },
  COOKIE_MAX_AGE: { default: '24h', value: DURATION, words: 'how long browsers keep it; the session ends by itself before' },
  COOKIE_DOMAIN: { value: TEXT, words: 'has no effect: the cookie is for its own host alone' },
  OIDC_ISSUER_URL: { value: 'url', words: 'issuer of ID tokens; needed by /auth and /login' },
  OIDC_CLIENT_ID: { value: TEXT, words: 'client that ID tokens are for; needed by /auth and /login' },
  OIDC_CLIENT_SECRET: { value: TEXT, words: 'secret of that client for /login, where the issuer asks for one; better in the environment than on a command line' },
  OIDC_CLIENT_SECRET_FILE: { value: 'file', words: 'file with that secret, read for each sign-in' },
  OIDC_SCOPES: { value: TEXT, words: 'scopes that /login asks for, separated by spaces; without it openid, profile and, where the issuer knows it, groups' },
  OIDC_CA_FILE: { value: 'file', words: 'PEM file with CAs of the issuer, trusted beside those that Node.js trusts' },
  OIDC_ALLOW_HTTP_LOOPBACK: { default: 'false', value: BOOLEAN, words: 'let the issuer be at http:// on this machine itself, for development' },
  OIDC_USERNAME_PREFIX: { default: '-', value: TEXT, words: 'put before names of users; - is none' },
  OIDC_GROUPS_PREFIX: { default: '-', value: TEXT, words: 'put before names of groups; - is none' },
  OIDC_ADD_AUTHENTICATED_GROUP: { default: 'false', value: BOOLEAN, words: 'count users of the issuer in system:authenticated' },
  OIDC_INIT_TIMEOUT_SECONDS: { default: '30', value: NUMBER, words: 'how long the issuer may take to answer at the start' },
} as const satisfies Record<string, Setting>

export type AuthVariable = keyof typeof AUTH_SETTINGS
/** Text by variable; an option counts before the environment. Empty text counts as unset. */
export type AuthSettings = Readonly<Partial<Record<AuthVariable, string | undefined>>>

const isVariable = (name: string): name is AuthVariable => Object.hasOwn(AUTH_SETTINGS, name)
export const AUTH_VARIABLES: readonly AuthVariable[] = Object.keys(AUTH_SETTINGS).filter(isVariable)

/** The option of a variable and what it takes, for the command line: `--jwt-issuer <text>`. */
export const authOption = (variable: AuthVariable): { flags: string; words: string; default: string | undefined } => {
  const setting: Setting = AUTH_SETTINGS[variable]
  return { flags: `${optionOf(variable)} <${setting.value}>`, words: `${setting.words} (${variable})`, default: setting.default }
}
