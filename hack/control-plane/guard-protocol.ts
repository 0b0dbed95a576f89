/** What the guard process and the one that started it say to each other: one JSON value a line. */

export interface StartCommand {
  do: 'start'
  name: string
  command: string
  args: string[]
  cwd: string
  /** Standard output and error go there. */
  logFile: string
}

/** Ends one program; the answer is its `exited`. */
export interface StopCommand {
  do: 'stop'
  name: string
}

/** Ends one program as a crash does: SIGKILL at once, to all that it started too. */
export interface KillCommand {
  do: 'kill'
  name: string
}

export type GuardCommand = StartCommand | StopCommand | KillCommand

export type GuardEvent =
  | { event: 'started'; name: string; pid: number }
  | { event: 'exited'; name: string; reason: string }

/** The guard's own settings, as its one argument. */
export interface GuardSettings {
  /** A folder to remove once all programs have ended. */
  removeAtEnd?: string
  /** Milliseconds between SIGTERM and SIGKILL. */
  graceMs: number
}

/** Cuts a stream of text into lines; empty ones are left out. */
export const readLines = (onLine: (line: string) => void): ((text: string) => void) => {
  let rest = ''
  return (text) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) if (line !== '') onLine(line)
  }
}
