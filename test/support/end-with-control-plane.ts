/** A process that starts a control plane, says its process ids and folder, and ends without stopping it. */
import { startControlPlane } from '../../hack/control-plane/start.ts'

const controlPlane = await startControlPlane({ log: () => undefined })
process.stdout.write(`${JSON.stringify({ pids: controlPlane.pids, folder: controlPlane.description.workDir })}\n`)
