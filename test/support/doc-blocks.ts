/** Code blocks of docs/*.md, so that tests run what people read. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ROOT } from './dockerfile.ts'

/**
 * The code blocks of one language below a heading, down to the next heading; indentation of a list is taken off.
 * @throws Error when there are none
 */
export const codeBlocks = async (file: string, heading: string, language: string): Promise<string[]> => {
  const text = await readFile(join(ROOT, 'docs', file), 'utf8')
  const start = text.indexOf(`\n## ${heading}\n`)
  const rest = start < 0 ? '' : text.slice(start + 4)
  const end = rest.indexOf('\n## ')
  const section = end < 0 ? rest : rest.slice(0, end)
  const blocks = [...section.matchAll(/^( *)```(\w+)\n([\s\S]*?)^ *```$/gm)]
    .filter(([, , of]) => of === language)
    .map(([, indent = '', , code = '']) => code.replaceAll(new RegExp(`^${indent}`, 'gm'), ''))
  if (blocks.length === 0) throw new Error(`docs/${file} has no ${language} block below "${heading}"`)
  return blocks
}
