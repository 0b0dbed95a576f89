/** Lines that show that something long goes on: a live line on a terminal, a line every ten seconds elsewhere. */
const LIVE_MS = 1_000
const HEARTBEAT_MS = 10_000

export interface Output {
  write(text: string): unknown
  isTTY?: boolean | undefined
}

export interface Progress {
  line(text: string): void
  /** Shows `title` until the work ends, then how long it took. Throws what the work throws. */
  step<T>(title: string, work: (detail: (text: string) => void) => Promise<T>): Promise<T>
}

export const createProgress = (output: Output, now: () => number = Date.now): Progress => {
  const isLive = output.isTTY === true
  const line = (text: string): void => void output.write(`${isLive ? '\r\u001b[K' : ''}${text}\n`)

  const step = async <T>(title: string, work: (detail: (text: string) => void) => Promise<T>): Promise<T> => {
    const start = now()
    let detail = ''
    const elapsed = (): string => `${Math.round((now() - start) / 1000)} s`
    const running = (): string => `${title} … ${elapsed()}${detail === '' ? '' : `, ${detail}`}`
    if (!isLive) line(`${title} …`)
    const beat = setInterval(
      () => (isLive ? output.write(`\r\u001b[K${running()}`) : line(running())),
      isLive ? LIVE_MS : HEARTBEAT_MS,
    )
    try {
      const result = await work((text) => void (detail = text))
      line(`${title}: done in ${elapsed()}`)
      return result
    } catch (error) {
      line(`${title}: failed after ${elapsed()}`)
      throw error
    } finally {
      clearInterval(beat)
    }
  }
  return { line, step }
}
