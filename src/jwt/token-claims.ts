/** What our tokens say, and how it is written in them. */
import { Type, type Static } from 'typebox'
import { Compile } from 'typebox/compile'
import { AnyKey } from '../api/meta.ts'

export interface TokenClaims {
  user: string
  groups: readonly string[]
  uid?: string
  extra?: Readonly<Record<string, readonly string[]>>
  /** Of the application; empty when the token is for none. */
  path: string
  /** Host, with its port when it has one; empty when the token is for none. */
  domain: string
  namespace?: string
  /** bootstrap: from the Extension API, to be exchanged. session: from the auth middleware, in a cookie. Whoever reads a token checks it. */
  type: 'bootstrap' | 'session'
  skipRefresh?: boolean
}

export interface VerifiedToken extends TokenClaims {
  jti: string | undefined
  /** Milliseconds since the epoch. */
  issuedAt: number
  /** Milliseconds since the epoch. */
  expiresAt: number
}

const closed = { additionalProperties: false } as const
const text = Type.String()
const filled = Type.String({ minLength: 1 })
const seconds = Type.Integer({ minimum: 0, maximum: 9_999_999_999 })
const lists = Type.Record(AnyKey, Type.Array(text))

/** All that may be in a token. Another claim is none of ours: what it is to mean, or to forbid, is not known here. */
const Payload = Type.Object(
  {
    iss: text,
    aud: Type.Tuple([text]),
    sub: filled,
    iat: seconds,
    nbf: seconds,
    exp: seconds,
    jti: Type.Optional(filled),
    User: filled,
    Groups: Type.Optional(Type.Array(text)),
    Uid: Type.Optional(filled),
    Extra: Type.Optional(lists),
    Path: Type.Optional(filled),
    Domain: Type.Optional(filled),
    Namespace: Type.Optional(filled),
    TokenType: Type.Union([Type.Literal('bootstrap'), Type.Literal('session')]),
    SkipRefresh: Type.Optional(Type.Boolean()),
  },
  closed,
)
export type Payload = Static<typeof Payload>
const payloadShape = Compile(Payload)

/** Whether these are the claims of a token of ours, each of its type. The subject is the user. */
export const isPayload = (claims: unknown): claims is Payload => payloadShape.Check(claims) && claims.sub === claims.User

/** The claims that are ours alone; what is empty is left out. */
export const writeClaims = ({ user, groups, uid, extra, path, domain, namespace, type, skipRefresh }: TokenClaims): Omit<Payload, 'iss' | 'aud' | 'iat' | 'nbf' | 'exp'> => ({
  sub: user,
  User: user,
  ...(groups.length === 0 ? {} : { Groups: [...groups] }),
  ...(uid === undefined || uid === '' ? {} : { Uid: uid }),
  ...(extra === undefined || Object.keys(extra).length === 0 ? {} : { Extra: Object.fromEntries(Object.entries(extra).map(([key, values]) => [key, [...values]])) }),
  ...(path === '' ? {} : { Path: path }),
  ...(domain === '' ? {} : { Domain: domain }),
  ...(namespace === undefined || namespace === '' ? {} : { Namespace: namespace }),
  TokenType: type,
  ...(skipRefresh === true ? { SkipRefresh: true } : {}),
})

export const readClaims = (payload: Payload): VerifiedToken => {
  const { User, Groups = [], Uid, Extra, Path = '', Domain = '', Namespace, TokenType, SkipRefresh, jti, iat, exp } = payload
  return {
    user: User,
    groups: Groups,
    ...(Uid === undefined ? {} : { uid: Uid }),
    ...(Extra === undefined ? {} : { extra: Extra }),
    path: Path,
    domain: Domain,
    ...(Namespace === undefined ? {} : { namespace: Namespace }),
    type: TokenType,
    ...(SkipRefresh === true ? { skipRefresh: true } : {}),
    jti,
    issuedAt: iat * 1000,
    expiresAt: exp * 1000,
  }
}
