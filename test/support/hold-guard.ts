/** A process to be killed: starts two programs under a guard, says their ids, and stays. Argument: the folder that the guard removes. */
import { startGuard } from '../../hack/control-plane/programs-under-guard.ts'

const folder = process.argv[2] ?? ''
const guard = startGuard({ removeAtEnd: folder, graceMs: 200 })
const start = (name: string, script: string): Promise<number> =>
  guard.start({ name, command: '/bin/sh', args: ['-c', script], cwd: folder, logFile: `${folder}/${name}.log` })

const polite = await start('polite', 'exec sleep 600')
// Takes no notice of SIGTERM, and has a child of its own.
const stubborn = await start('stubborn', "trap '' TERM; sleep 600 & wait; sleep 600")
process.on('SIGTERM', () => undefined)
// Last: whoever reads it may send the signal at once.
process.stdout.write(`${JSON.stringify({ guard: guard.pid, polite, stubborn })}\n`)
