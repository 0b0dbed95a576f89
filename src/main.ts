#!/usr/bin/env node
/** The only place that reads arguments and environment, builds a client, and owns signals and the exit code. */
import { setFlagsFromString } from 'node:v8'
import closeWithGrace from 'close-with-grace'
import type { Logger } from 'pino'
import packageJson from '../package.json' with { type: 'json' }
import { runWebhook } from '../webhooks/role.ts'
import { commandLine, type Settings } from './command-line.ts'
import { runController } from './controller/role.ts'
import { runCsi } from './csi/role.ts'
import { isCoded, messageOf } from './errors.ts'
import { createClient, type KubeClient } from './kube/client.ts'
import { systemClock } from './kube/timers.ts'
import { createLogger } from './log.ts'

/** Past this, and the drain that was asked for (milliseconds), the process ends however far it got. */
const STOP_WITHIN_MS = 60_000

/** What every role is once it runs. */
interface Running {
  failed: Promise<never>
  stop(): Promise<void>
}

const start = ({ role, options }: Settings, kube: KubeClient, logger: Logger): Promise<Running> => {
  const env = { logger, clock: systemClock }
  switch (role) {
    case 'webhook':
      return runWebhook(options, { reader: kube, writer: kube, permission: kube }, env)
    case 'controller':
      return runController(options, kube, env)
    case 'csi':
      return runCsi(options, kube, { ...env, version: packageJson.version })
    default:
      return role satisfies never
  }
}

// V8 compiles functions on a thread of its own that may wait for a collection of garbage when the process ends; the end waits for the thread,
// and nobody collects (seen with Node 24: everything was stopped, and the process stood still until it was killed).
setFlagsFromString('--no-concurrent-sparkplug')

const runRole = async (settings: Settings): Promise<void> => {
  const { role, common } = settings
  const { logLevel, ...where } = common
  // It keeps much and computes little: reading ten thousand requests leaves twice as much memory behind without this.
  if (role === 'controller' || role === 'csi') setFlagsFromString('--optimize-for-size')
  const logger = createLogger({ level: logLevel }).child({ role })
  const kube = createClient({ ...where, userAgent: `access-gate/${packageJson.version} ${role}` })
  logger.info({ version: packageJson.version, server: kube.server }, 'starting')
  const running = await start(settings, kube, logger)
  const delay = STOP_WITHIN_MS + (settings.role === 'webhook' ? settings.options.drainMs : 0)
  closeWithGrace({ delay, logger: { error: (error: unknown) => logger.error({ err: error }, 'stopping after an error') } }, async ({ signal, err }) => {
    logger.info({ signal, err }, 'stopping')
    await running.stop()
    kube.close()
  })
  running.failed.catch(async () => {
    await running.stop()
    process.exit(1)
  })
}

/** One sentence for what the caller can mend; everything else with its stack. */
const fail = (error: unknown): void => {
  process.stderr.write(`error: ${isCoded(error) ? messageOf(error) : error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
  process.exit(1)
}

try {
  await commandLine({ version: packageJson.version, env: process.env, run: runRole }).parseAsync()
} catch (error) {
  fail(error)
}
