import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'
import { errorCode } from '../../src/errors.ts'

/**
 * Below what systems hand out by themselves, to whoever connects and to whoever listens on port 0: a port from there could be gone
 * before its program opens it, or while that is started again. From here nobody takes one but who asks for this very port.
 */
const [FIRST, END] = [20_000, 30_000]
/** Of ten thousand ports nearly all are free. */
const TRIES = 100
/** By this process, which may open several of them later. */
const given = new Set<number>()

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', (error) => (errorCode(error) === 'EADDRINUSE' ? resolve(false) : reject(error)))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })

/** A port on 127.0.0.1 that was free a moment ago; by accident alone another process has been given the same. */
export const freePort = async (): Promise<number> => {
  for (let attempt = 1; attempt <= TRIES; attempt += 1) {
    const port = randomInt(FIRST, END)
    if (given.has(port) || !(await isFree(port))) continue
    given.add(port)
    return port
  }
  throw new Error('no port could be opened')
}
