/** The session cookie: for its own host alone, so that no other host of the domain ever sees it. */

export interface CookieOptions {
  name: string
  /** Where the application has all of the host. */
  path: string
  secure: boolean
  httpOnly: boolean
  sameSite: 'strict' | 'lax' | 'none'
  maxAgeSeconds: number
}

/** Browsers drop a longer one without a word. Bytes of the whole header, which is the strictest reading. */
export const MAX_COOKIE_BYTES = 4096

export const isCookieName = (text: string): boolean => /^[\w.-]{1,128}$/.test(text)

const SPACE = 0x20
const SEMICOLON = 0x3b

const SAME_SITE = { strict: 'Strict', lax: 'Lax', none: 'None' } as const

/** Whether a cookie begins here; elsewhere the same text is part of another one. */
const beginsCookie = (header: string, at: number): boolean => {
  let before = at - 1
  while (before >= 0 && header.charCodeAt(before) === SPACE) before -= 1
  return before < 0 || header.charCodeAt(before) === SEMICOLON
}

export interface SessionCookie {
  /** The value of Set-Cookie. */
  set(appPath: string, token: string): string
  /** Removes the cookie of this application from the browser. */
  clear(appPath: string): string
  /** Every value of cookies of the name, in the order in which the browser sent them. */
  read(header: string | undefined): string[]
}

export const sessionCookie = (options: CookieOptions): SessionCookie => {
  const start = `${options.name}=`
  const flags = `${options.httpOnly ? '; HttpOnly' : ''}${options.secure ? '; Secure' : ''}; SameSite=${SAME_SITE[options.sameSite]}`
  const written = (appPath: string, value: string, maxAge: number): string =>
    `${start}${value}; Path=${appPath === '' || appPath === '/' ? options.path : appPath}; Max-Age=${maxAge}${flags}`
  return {
    set: (appPath, token) => written(appPath, token, options.maxAgeSeconds),
    clear: (appPath) => written(appPath, '', 0),
    read: (header) => {
      const values: string[] = []
      if (header === undefined) return values
      for (let at = header.indexOf(start); at >= 0; at = header.indexOf(start, at + 1)) {
        if (!beginsCookie(header, at)) continue
        const end = header.indexOf(';', at)
        const value = header.slice(at + start.length, end < 0 ? undefined : end).trim()
        if (value !== '') values.push(value)
      }
      return values
    },
  }
}
