/** What a running role says of itself. */
import { LOOPBACK, type RoleProcess } from './servers.ts'

/** @returns the value of one sample of /metrics by its whole name, labels and all; undefined when it is not there */
export const sampleOf = (text: string, name: string): number | undefined => {
  const line = text.split('\n').find((one) => one.startsWith(`${name} `))
  return line === undefined ? undefined : Number(line.slice(name.length + 1))
}

export const metricOf = async ({ metricsPort }: Pick<RoleProcess, 'metricsPort'>, name: string): Promise<number | undefined> =>
  sampleOf(await (await fetch(`http://${LOOPBACK}:${metricsPort}/metrics`)).text(), name)
