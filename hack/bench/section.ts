/** What a part of the benchmark is, and what it is given. */
import type { ControlPlane } from '../control-plane/start.ts'

export type Goal = { atMost: number } | { atLeast: number }

/** One measured number. */
export interface Figure {
  /** Its key in the JSON: lower case with underscores, the unit at the end, e.g. `pod_create_gated_median_ms`. */
  key: string
  /** For the table, e.g. `Pod with our volume, median`. */
  label: string
  value: number
  /** As the end of the key says it: `ms`, `s`, `us_per_request`, `per_second`, `percent`, `ratio`, `count`, `mb` (1,000,000 bytes). */
  unit: string
  /** What it is meant to be; the frame says whether it is. */
  goal?: Goal
  /** A few words for the reader of the table, e.g. the spread: `4.1 to 6.0 in 5 rounds`. */
  note?: string
}

/** A program that runs under a guard process: it ends with the section, and when the benchmark itself is killed. */
export interface ServerProcess {
  pid: number
  /** How it ended; undefined while it runs. */
  exit(): string | undefined
  /** What it wrote so far, on standard output and error. */
  log(): Promise<string>
  /** SIGTERM; resolves when it is gone. */
  stop(): Promise<void>
}

export interface BenchEnv {
  /**
   * A control plane of this section alone, without our manifests: started by the first call, the same one for later calls,
   * stopped by the frame when the section ends, however it ends.
   */
  cluster(): Promise<ControlPlane>
  /** Path of the bundled program, built once a run: what people run. */
  bundle(): Promise<string>
  /** Starts a program that is stopped at the end of the section. The name is for its log, and there once at a time. */
  start(name: string, command: string, args: readonly string[]): Promise<ServerProcess>
  /** A folder of this section alone, removed at its end. */
  folder: string
  /** Fewer rounds and smaller numbers, so that each section takes a minute or two at most. The same keys all the same, but for those that a section excepts. */
  quick: boolean
  /** One line of progress at once, on standard error. */
  log: (line: string) => void
  /** Aborted by the first Ctrl-C: then throw, and end what you started. */
  signal: AbortSignal
  /** Called when the section ends, however it ends, last one first; programs and the control plane are stopped after them. */
  atEnd(stop: () => Promise<void> | void): void
}

/** This machine lacks what a section is about: it is left out, which is no failure. The message is one sentence that says what to do. */
export class SectionSkipped extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'SectionSkipped'
  }
}

/** Sections run one after the other and share nothing. */
export interface Section {
  /** For `--only`: lower case with dashes. */
  name: string
  /** One line for the table and for progress. */
  title: string
  /** The keys of all figures, in the order of the table: known without a run, so that a test can hold them. */
  keys: readonly string[]
  /** Those of them that a quick run leaves out, because of their time. */
  keysNotInQuick?: readonly string[]
  /**
   * @throws Error when it could not be measured; the other sections run on, and the run ends with exit code 1
   * @throws SectionSkipped when this machine cannot do it
   */
  run(env: BenchEnv): Promise<Figure[]>
}
