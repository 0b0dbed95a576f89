/** Options of the role `auth`: every environment variable of it, under a name of the command line. */
import { Option, type Command } from 'commander'
import { AUTH_VARIABLES, authOption, readAuthOptions, type AuthOptions, type AuthVariable } from '../auth/options.ts'

/** What Commander collects: text, by the names that it makes of the options. */
export type AuthFlags = Readonly<Record<string, unknown>>

const optionFor = (variable: AuthVariable): Option => {
  const { flags, words, default: fallback } = authOption(variable)
  // Not a default of Commander's own: that would count before the environment.
  return new Option(flags, fallback === undefined ? words : `${words}; default ${fallback}`)
}

const HELP = `
Each option is an environment variable as well, the name in parentheses; the option counts first, and what is empty counts
as unset. The reverse proxy asks, for every request to a workspace, and passes on 401, 403 and Set-Cookie:
  GET /verify       whether the session cookie opens this path and host; no call to Kubernetes
  GET /auth         signs in by an ID token: Authorization: Bearer …
  GET /bearer-auth  signs in by the one-time URL of a WorkspaceConnection (ENABLE_BEARER_URL_AUTH)
  GET /login        signs in at the issuer (ENABLE_LOGIN); /callback is where the issuer sends the browser back to
with X-Forwarded-Host, X-Forwarded-Uri and X-Forwarded-Proto, from an address in TRUSTED_PROXIES. docs/connections.md has a
configuration for nginx and one for Traefik.
`

export const addAuthOptions = (command: Command): Command => {
  for (const variable of AUTH_VARIABLES) command.addOption(optionFor(variable))
  return command.addHelpText('after', HELP)
}

/** @throws CodedError CONFIG_INVALID */
export const authOptions = (flags: AuthFlags, env: NodeJS.ProcessEnv): AuthOptions =>
  readAuthOptions(
    Object.fromEntries(
      AUTH_VARIABLES.map((variable) => {
        const given = flags[optionFor(variable).attributeName()]
        return [variable, typeof given === 'string' ? given : env[variable]]
      }),
    ),
  )
