/** What containers have said, in the files that the container runtime writes. */
import { glob, readFile } from 'node:fs/promises'
import { join } from 'node:path'

export interface ContainerName {
  namespace: string
  /** Of the Pod. */
  name: string
  container: string
}

/** Each line begins with a time, the stream, and F or P: P is a piece of a longer line that goes on in the next one. */
const LINE = /^\S+ (?:stdout|stderr) ([FP])(?:\S*) (.*)$/

/** The text of a log file without what the runtime added. */
export const readContainerLog = (text: string): string =>
  text
    .split('\n')
    .map((line) => LINE.exec(line))
    .map((match) => (match === null ? '' : `${match[2] ?? ''}${match[1] === 'F' ? '\n' : ''}`))
    .join('')

/** By time: a container that was started again has a file for each start, 0.log and so on. Pods of the same name are told one after the other. */
export const containerLog = async (podLogs: string, { namespace, name, container }: ContainerName): Promise<string> => {
  const files: string[] = []
  for await (const file of glob(join(podLogs, `${namespace}_${name}_*`, container, '*.log'))) files.push(file)
  const texts = await Promise.all(files.map((file) => readFile(file, 'utf8')))
  return texts.toSorted().map(readContainerLog).join('')
}
