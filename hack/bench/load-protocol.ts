/** What the benchmark and its load process say to each other: one JSON value a line. */

/** One kind of request that is sent again and again. */
export interface LoadStep {
  path: string
  /** The one for turn n is number n, counted round and round. An empty one makes it a GET, else it is a POST. */
  bodies: readonly string[]
  /** Headers by their names, counted as bodies are. Left out: those with which the API server calls a webhook. */
  headers?: readonly Readonly<Record<string, string>>[]
  /** Of each good answer. Left out: 200. */
  status?: number
  /** What each good answer holds besides. */
  expect: string
}

/** So many turns, each all steps one after the other on one connection. */
export interface LoadJob {
  host: string
  port: number
  /** PEM of the CA that signed the server's certificate. Left out: plain HTTP. */
  ca?: string
  /** A name in that certificate. */
  serverName: string
  /** PEM: how the server knows the caller. */
  certificate?: { cert: string; key: string }
  connections: number
  turns: number
  steps: readonly LoadStep[]
}

export type LoadAnswer = { ok: true; seconds: number; requests: number; lastBodies: string[] } | { ok: false; message: string }
