/** Why no node can be had or run on this machine. The message says what failed and what to do next. */
export class NodeFailure extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'NodeFailure'
  }
}
