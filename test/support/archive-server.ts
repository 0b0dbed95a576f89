import { createHash } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { dirname, join } from 'node:path'
import { run } from '../../hack/control-plane/run.ts'
import { listenOnLoopback } from './loopback-server.ts'
import { temporaryFolder } from './temporary-folder.ts'

type Teardown = Parameters<typeof temporaryFolder>[0]

/** An archive with small scripts in place of programs, laid out as the envtest releases are. */
export const makeArchive = async (t: Teardown, programs: readonly string[]): Promise<{ bytes: Buffer; sha512: string }> => {
  const folder = await temporaryFolder(t)
  for (const program of programs) {
    const file = join(folder, 'controller-tools', 'envtest', program)
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, `#!/bin/sh\necho ${program} v0\n`)
  }
  await run('tar', ['-czf', join(folder, 'archive.tar.gz'), '-C', folder, 'controller-tools'])
  const bytes = await readFile(join(folder, 'archive.tar.gz'))
  return { bytes, sha512: createHash('sha512').update(bytes).digest('hex') }
}

export interface ArchiveServer {
  url: string
  /** How often it was asked. */
  calls: () => number
}

/** Answers every path with the bytes; "nothing" never answers; a number is a status without a body. */
export const serveArchive = async (t: Teardown, answer: Buffer | number | 'nothing'): Promise<ArchiveServer> => {
  let calls = 0
  const server = createServer((_request, response) => {
    calls++
    if (typeof answer === 'number') response.writeHead(answer).end()
    else if (answer !== 'nothing') response.end(answer)
  })
  const port = await listenOnLoopback(t, server)
  return { url: `http://127.0.0.1:${port}/archive.tar.gz`, calls: () => calls }
}
