import { test } from 'tap'
import { readOptions } from '../../../hack/bench/options.ts'
import type { Section } from '../../../hack/bench/section.ts'
import { SECTIONS } from '../../../hack/bench/sections.ts'

const sectionOf = (name: string): Section => ({ name, title: `about ${name}`, keys: [], run: async () => [] })
const [one, two, three] = [sectionOf('one'), sectionOf('two'), sectionOf('three')]

const read = (...args: string[]) => {
  const said = { out: '', err: '' }
  const options = readOptions([one, two, three], args, { out: (text) => (said.out += text), err: (text) => (said.err += text) })
  return { options, ...said }
}

const accepted: Record<string, { args: string[]; want: object }> = {
  'nothing: everything, for people': { args: [], want: { json: false, quick: false, sections: [one, two, three] } },
  'json and quick': { args: ['--json', '--quick'], want: { json: true, quick: true, sections: [one, two, three] } },
  'one part': { args: ['--only', 'two'], want: { json: false, quick: false, sections: [two] } },
  'parts run in their own order, whatever is written': { args: ['--only=three,one'], want: { json: false, quick: false, sections: [one, three] } },
}

for (const [title, { args, want }] of Object.entries(accepted)) {
  await test(`options: ${title}`, async (t) => t.strictSame(read(...args), { options: want, out: '', err: '' }))
}

const refused: Record<string, { args: string[]; err: RegExp }> = {
  'a part that does not exist': { args: ['--only', 'two,four'], err: /There is no part named "four"; there are one, two, three\./ },
  'an option that does not exist': { args: ['--slow'], err: /unknown option '--slow'/ },
  'words that are no option': { args: ['two'], err: /too many arguments/ },
}

for (const [title, { args, err }] of Object.entries(refused)) {
  await test(`refused with exit code 1: ${title}`, async (t) => {
    const answer = read(...args)
    t.strictSame(answer.options, { exitCode: 1 })
    t.match(answer.err, err)
  })
}

await test('help names every part, and is no failure', async (t) => {
  const { options, out } = read('--help')
  t.strictSame(options, { exitCode: 0 })
  t.match(out, /--json/)
  t.match(out, /one {4}about one\n {2}two {4}about two\n {2}three {2}about three/)
})

await test('the parts have names of their own, and no key is announced twice', async (t) => {
  const names = SECTIONS.map(({ name }) => name)
  t.equal(new Set(names).size, names.length)
  const keys = SECTIONS.flatMap((section) => section.keys)
  t.equal(new Set(keys).size, keys.length)
  t.ok(keys.length > 0)
})
