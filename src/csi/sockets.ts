/** Unix sockets that root alone may reach, at paths that kubelet or an earlier plugin knows. */
import { chmodSync, lstatSync } from 'node:fs'
import { lstat, rename, rm } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { basename, dirname, isAbsolute, join } from 'node:path'
import { CodedError, messageOf, errorCode } from '../errors.ts'

export interface ListeningSocket {
  /** Rejects when the socket fails later on. */
  failed: Promise<never>
  /** Why nobody can reach it any more: its file was removed or replaced. undefined: it is there. */
  lost(): string | undefined
  /** Takes no more connections, leaves those that are there, and removes the socket unless it is another's by now. */
  close(): Promise<void>
}

/** What a socket's address holds, without the zero at its end. */
const MAX_PATH_BYTES = 107
/** Nobody but the owner; folders that something else makes at this moment can still be entered by theirs. */
const OWNER_ONLY = 0o077
const MODE = 0o600


const bindError = (path: string, reason: string, cause?: unknown): CodedError =>
  new CodedError('CONFIG_INVALID', `the plugin cannot serve on ${path}: ${reason}`, { cause })

/** The name that a socket has until it is ready. kubelet passes over names that begin with a dot. */
const hiddenName = (path: string): string => join(dirname(path), `.${basename(path)}.new`)

/** Whether somebody takes connections there. The socket of a process that has ended refuses them. */
const isAnswering = (path: string): Promise<boolean> =>
  new Promise((resolve, reject) => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', (error) => {
      const code = errorCode(error)
      // EAGAIN: so many wait there that nobody else may.
      if (code === 'EAGAIN') resolve(true)
      else if (code === 'ECONNREFUSED' || code === 'ENOENT') resolve(false)
      else reject(error)
    })
  })

/** @throws CodedError CONFIG_INVALID when something is there that is not ours to replace */
const checkPath = async (path: string): Promise<void> => {
  if (!isAbsolute(path)) throw bindError(path, 'give an absolute path')
  if (Buffer.byteLength(hiddenName(path)) > MAX_PATH_BYTES) throw bindError(path, 'the path of a socket must be shorter; give one of at most 100 bytes')
  const found = await lstat(path).catch((error: unknown) => {
    if (errorCode(error) === 'ENOENT') return undefined
    throw bindError(path, messageOf(error), error)
  })
  if (found === undefined) return
  if (!found.isSocket()) throw bindError(path, 'something that is no socket is there; remove it or give another path')
  const answers = await isAnswering(path).catch((error: unknown) => {
    throw bindError(path, messageOf(error), error)
  })
  if (answers) throw bindError(path, 'another process answers there; end it, or give another path')
}

/** Listens at once and synchronously, so that nothing else of this process runs under the mask. */
const listenMasked = (server: Server, path: string): void => {
  const before = process.umask(OWNER_ONLY)
  try {
    server.listen(path)
  } finally {
    process.umask(before)
  }
}

const listening = (server: Server, path: string): Promise<void> =>
  new Promise((resolve, reject) => {
    server.once('error', reject)
    server.once('listening', () => {
      server.off('error', reject)
      resolve()
    })
    listenMasked(server, path)
  })

/**
 * Listens on a unix socket of mode 0600. It is made under a hidden name, where nobody but its owner ever had a right, and renamed when it
 * takes connections, which also replaces the socket of a plugin that is gone.
 * @param onConnection called with each connection
 * @throws CodedError CONFIG_INVALID when it cannot
 */
export const listenOnSocket = async (path: string, onConnection: (socket: Socket) => void): Promise<ListeningSocket> => {
  await checkPath(path)
  const hidden = hiddenName(path)
  const server = createServer(onConnection)
  const inode = await (async () => {
    await rm(hidden, { force: true })
    await listening(server, hidden)
    chmodSync(hidden, MODE)
    await rename(hidden, path)
    return (await lstat(path)).ino
  })().catch((error: unknown) => {
    server.close()
    throw bindError(path, messageOf(error), error)
  })
  const failed = new Promise<never>((_resolve, reject) => server.on('error', (error) => reject(bindError(path, messageOf(error), error))))
  // Whoever waits for it is told; nobody has to.
  failed.catch(() => undefined)
  const isOurs = (): boolean => lstatSync(path, { throwIfNoEntry: false })?.ino === inode
  return {
    failed,
    lost: () => (isOurs() ? undefined : `the socket ${path} was removed or replaced`),
    async close() {
      server.close()
      if (isOurs()) await rm(path, { force: true })
    },
  }
}
