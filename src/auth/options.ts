/** What the settings of the auth middleware mean, put together and checked. */
import { readFileSync } from 'node:fs'
import { namespaceProblem, subdomainProblem } from '../core/name-rules.ts'
import type { RefreshRules } from '../core/session.ts'
import { DEFAULT_PATTERNS, isPlainPath, type WorkspaceRouting } from '../core/workspace-path.ts'
import { CodedError, errorCode } from '../errors.ts'
import { AUTH_VARIABLES, authOption, type AuthSettings, type AuthVariable } from './auth-settings.ts'
import { isCookieName, type CookieOptions } from './cookie.ts'
import { prefixProblem } from './oidc/id-claims.ts'
import { badSetting, settingReader, type Address, type SettingReader } from './setting-reader.ts'
import { trustedProxies, type TrustedProxies } from './trusted-proxies.ts'

export { AUTH_VARIABLES, authOption, type AuthSettings, type AuthVariable } from './auth-settings.ts'

export interface OidcOptions {
  issuerUrl: string
  clientId: string
  /** Never logged. */
  clientSecret?: string
  clientSecretFile?: string
  /** Separated by spaces. */
  scope?: string
  caFile?: string
  allowHttpLoopback: boolean
  /** Empty: none. */
  usernamePrefix: string
  groupsPrefix: string
  addAuthenticatedGroup: boolean
  initTimeoutMs: number
}

export interface JwtOptions {
  secretName: string
  issuer: string
  audience: string
  ttlMs: number
  newKeyUseDelayMs: number
}

export interface AuthOptions {
  host: string
  port: number
  metrics: Address
  probe: Address
  readTimeoutMs: number
  writeTimeoutMs: number
  shutdownTimeoutMs: number
  proxies: TrustedProxies
  namespace: string
  jwt: JwtOptions
  refresh: RefreshRules
  enableOauth: boolean
  enableBearerUrlAuth: boolean
  enableLogin: boolean
  routing: WorkspaceRouting
  cookie: CookieOptions
  /** Always there with enableOauth or enableLogin. */
  oidc?: OidcOptions
  /** What was set and has no effect, one sentence each, for the log. */
  warnings: readonly string[]
}

type Reader = SettingReader<AuthVariable>

const named = (reader: Reader, variable: AuthVariable, problem: (value: unknown) => string | undefined): string => {
  const value = reader.text(variable)
  const found = problem(value)
  if (found !== undefined) throw badSetting(variable, found)
  return value
}

/** Where Kubernetes tells a Pod its namespace. */
const OWN_NAMESPACE_FILE = '/var/run/secrets/kubernetes.io/serviceaccount/namespace'

const ownNamespace = (file: string): string | undefined => {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') return undefined
    throw new CodedError('CONFIG_INVALID', `the namespace of the Pod cannot be read from ${file} (${errorCode(error)}); set NAMESPACE (--namespace)`, { cause: error })
  }
}

const readNamespace = (reader: Reader, file: string): string => {
  const value = reader.given('NAMESPACE') ?? ownNamespace(file)
  if (value === undefined) throw badSetting('NAMESPACE', 'must be set outside a Pod: it says where the Secret with the signing keys is')
  const problem = namespaceProblem(value)
  if (problem !== undefined) throw badSetting('NAMESPACE', problem)
  return value
}

const readJwt = (reader: Reader): JwtOptions => {
  reader.choice('JWT_SIGNING_TYPE', ['standard'])
  return {
    secretName: named(reader, 'JWT_SECRET_NAME', subdomainProblem),
    issuer: reader.text('JWT_ISSUER'),
    audience: reader.text('JWT_AUDIENCE'),
    ttlMs: reader.duration('JWT_EXPIRATION', 1000),
    newKeyUseDelayMs: reader.duration(reader.given('NEW_KEY_USE_DELAY') === undefined && reader.given('JWT_NEW_KEY_USE_DELAY') !== undefined ? 'JWT_NEW_KEY_USE_DELAY' : 'NEW_KEY_USE_DELAY', 0),
  }
}

/** A default that does not fit another setting is no mistake of the one who set that: it only counts where it has an effect. */
const readRefresh = (reader: Reader, ttlMs: number): RefreshRules => {
  const enabled = reader.flag('JWT_REFRESH_ENABLE')
  const windowMs = reader.duration('JWT_REFRESH_WINDOW', 1)
  const horizonMs = reader.duration('JWT_REFRESH_HORIZON', 1)
  const counts = (variable: AuthVariable): boolean => enabled || reader.given(variable) !== undefined
  if (windowMs > ttlMs && counts('JWT_REFRESH_WINDOW')) throw badSetting('JWT_REFRESH_WINDOW', 'must not be longer than JWT_EXPIRATION')
  if (horizonMs < ttlMs && counts('JWT_REFRESH_HORIZON')) throw badSetting('JWT_REFRESH_HORIZON', 'must not be shorter than JWT_EXPIRATION')
  return { enabled, windowMs, horizonMs }
}

const readRouting = (reader: Reader): WorkspaceRouting => {
  const mode = reader.choice('ROUTING_MODE', ['path', 'subdomain'])
  const appPath = reader.pattern('PATH_REGEX_PATTERN', DEFAULT_PATTERNS[mode].appPath)
  const patterns = {
    path: {
      namespace: reader.pattern('WORKSPACE_NAMESPACE_PATH_REGEX', DEFAULT_PATTERNS.path.namespace),
      name: reader.pattern('WORKSPACE_NAME_PATH_REGEX', DEFAULT_PATTERNS.path.name),
    },
    subdomain: {
      namespace: reader.pattern('WORKSPACE_NAMESPACE_SUBDOMAIN_REGEX', DEFAULT_PATTERNS.subdomain.namespace),
      name: reader.pattern('WORKSPACE_NAME_SUBDOMAIN_REGEX', DEFAULT_PATTERNS.subdomain.name),
    },
  }
  return { mode, appPath, ...patterns[mode] }
}

const readCookie = (reader: Reader, mode: WorkspaceRouting['mode']): CookieOptions => {
  const name = reader.text('COOKIE_NAME')
  const path = reader.text('COOKIE_PATH')
  const secure = reader.flag('COOKIE_SECURE')
  const sameSite = reader.choice('COOKIE_SAME_SITE', ['strict', 'lax', 'none'])
  if (!isCookieName(name)) throw badSetting('COOKIE_NAME', 'must be the name of a cookie: letters, digits, "-", "_" and "."')
  if (!isPlainPath(path)) throw badSetting('COOKIE_PATH', 'must be a path that begins with a slash and holds no spaces, commas or semicolons')
  if (/^__(host|secure)-/i.test(name) && !secure) throw badSetting('COOKIE_NAME', 'begins with a prefix that browsers take for secure cookies alone: set COOKIE_SECURE to true')
  if (/^__host-/i.test(name) && (mode !== 'subdomain' || path !== '/')) throw badSetting('COOKIE_NAME', 'may begin with __Host- only where ROUTING_MODE is subdomain and COOKIE_PATH is /')
  if (sameSite === 'none' && !secure) throw badSetting('COOKIE_SAME_SITE', 'may be none only where COOKIE_SECURE is true: browsers drop such a cookie')
  return { name, path, secure, sameSite, httpOnly: reader.flag('COOKIE_HTTP_ONLY'), maxAgeSeconds: Math.floor(reader.duration('COOKIE_MAX_AGE', 1000) / 1000) }
}

const prefix = (reader: Reader, variable: 'OIDC_USERNAME_PREFIX' | 'OIDC_GROUPS_PREFIX'): string => {
  const value = reader.text(variable)
  const problem = prefixProblem(value)
  if (problem !== undefined) throw badSetting(variable, problem)
  return value === '-' ? '' : value
}

const readOidc = (reader: Reader): OidcOptions => {
  const issuerUrl = reader.required('OIDC_ISSUER_URL', 'ENABLE_OAUTH or ENABLE_LOGIN is on, and they take tokens of that issuer')
  if (!/^https?:\/\//.test(issuerUrl) || !URL.canParse(issuerUrl)) throw badSetting('OIDC_ISSUER_URL', 'must be a URL that begins with https://')
  const clientId = reader.required('OIDC_CLIENT_ID', 'ENABLE_OAUTH or ENABLE_LOGIN is on, and tokens must be made for that client')
  const clientSecret = reader.given('OIDC_CLIENT_SECRET')
  const clientSecretFile = reader.given('OIDC_CLIENT_SECRET_FILE')
  const scope = reader.given('OIDC_SCOPES')
  const caFile = reader.given('OIDC_CA_FILE')
  if (clientSecret !== undefined && clientSecretFile !== undefined) throw badSetting('OIDC_CLIENT_SECRET_FILE', 'must not be set together with OIDC_CLIENT_SECRET: give one of them')
  if (scope !== undefined && !scope.split(' ').includes('openid')) throw badSetting('OIDC_SCOPES', 'must hold openid: without it there is no ID token')
  return {
    issuerUrl,
    clientId,
    ...(clientSecret === undefined ? {} : { clientSecret }),
    ...(clientSecretFile === undefined ? {} : { clientSecretFile }),
    ...(scope === undefined ? {} : { scope }),
    ...(caFile === undefined ? {} : { caFile }),
    allowHttpLoopback: reader.flag('OIDC_ALLOW_HTTP_LOOPBACK'),
    usernamePrefix: prefix(reader, 'OIDC_USERNAME_PREFIX'),
    groupsPrefix: prefix(reader, 'OIDC_GROUPS_PREFIX'),
    addAuthenticatedGroup: reader.flag('OIDC_ADD_AUTHENTICATED_GROUP'),
    initTimeoutMs: reader.wholeNumber('OIDC_INIT_TIMEOUT_SECONDS', 1, 3600) * 1000,
  }
}

/**
 * @param namespaceFile where a Pod finds its namespace; tests name another one
 * @throws CodedError CONFIG_INVALID with one sentence that names the setting
 */
export const readAuthOptions = (settings: AuthSettings, namespaceFile: string = OWN_NAMESPACE_FILE): AuthOptions => {
  const defaults = Object.fromEntries(AUTH_VARIABLES.map((variable) => [variable, authOption(variable).default]))
  const reader = settingReader<AuthVariable>(settings, defaults)
  const jwt = readJwt(reader)
  const routing = readRouting(reader)
  const enableOauth = reader.flag('ENABLE_OAUTH')
  const enableLogin = reader.flag('ENABLE_LOGIN')
  return {
    host: reader.text('LISTEN_HOST'),
    port: reader.port('PORT'),
    metrics: reader.address('METRICS_ADDR'),
    probe: reader.address('PROBE_ADDR'),
    readTimeoutMs: reader.duration('READ_TIMEOUT', 1),
    writeTimeoutMs: reader.duration('WRITE_TIMEOUT', 1),
    shutdownTimeoutMs: reader.duration('SHUTDOWN_TIMEOUT', 1),
    proxies: trustedProxies(reader.list('TRUSTED_PROXIES')),
    namespace: readNamespace(reader, namespaceFile),
    jwt,
    refresh: readRefresh(reader, jwt.ttlMs),
    enableOauth,
    enableBearerUrlAuth: reader.flag('ENABLE_BEARER_URL_AUTH'),
    enableLogin,
    routing,
    cookie: readCookie(reader, routing.mode),
    ...(enableOauth || enableLogin ? { oidc: readOidc(reader) } : {}),
    warnings: reader.given('COOKIE_DOMAIN') === undefined ? [] : ['COOKIE_DOMAIN has no effect: the session cookie is for its own host alone'],
  }
}
