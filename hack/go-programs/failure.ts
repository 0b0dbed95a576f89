/** Why a Go program or module cannot be had. The message says what failed and what to do next. */
export class GoProgramFailure extends Error {
  constructor(message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'GoProgramFailure'
  }
}
