/** Why no control plane can be had or run. The message says what failed and what to do next. */
export class ControlPlaneFailure extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'ControlPlaneFailure'
  }
}
