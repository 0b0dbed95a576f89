/** A process to be killed: starts a control plane, says its process ids and folder, and stays until it is told to stop. */
import { startControlPlane } from '../../hack/control-plane/start.ts'

const ending = new AbortController()
const controlPlane = await startControlPlane({ log: () => undefined, signal: ending.signal })
const keepAlive = setInterval(() => undefined, 60_000)
process.on('SIGINT', () => {
  clearInterval(keepAlive)
  ending.abort()
})
// Last: whoever reads it may send the signal at once.
process.stdout.write(`${JSON.stringify({ pids: controlPlane.pids, folder: controlPlane.description.workDir })}\n`)
