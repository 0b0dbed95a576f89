/** What the benchmark and its load process say to each other: one JSON value a line. */

/** One kind of request that is sent again and again. */
export interface LoadStep {
  path: string
  /** The one for turn n is number n, counted round and round. */
  bodies: readonly string[]
  /** What each good answer holds, besides status 200. */
  expect: string
}

/** So many turns, each all steps one after the other on one connection. */
export interface LoadJob {
  host: string
  port: number
  /** PEM of the CA that signed the server's certificate, and a name in that certificate. */
  ca: string
  serverName: string
  connections: number
  turns: number
  steps: readonly LoadStep[]
}

export type LoadAnswer = { ok: true; seconds: number; requests: number; lastBodies: string[] } | { ok: false; message: string }
