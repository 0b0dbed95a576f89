import fc from 'fast-check'
import { test } from 'tap'
import type { ConfigMap } from '../../src/api/config-map.ts'
import { createStore, type Store, type StoreChange } from '../../src/kube/store.ts'
import { logLines } from '../support/log-lines.ts'

const object = (name: string, version: number | string, fields: { uid?: string; text?: string; labels?: Record<string, string> } = {}): ConfigMap => ({
  metadata: { name, namespace: 'ns', uid: fields.uid ?? `uid-of-${name}`, resourceVersion: String(version), ...(fields.labels === undefined ? {} : { labels: fields.labels }) },
  data: { text: fields.text ?? `${name}@${version}` },
})
const told = (change: StoreChange<ConfigMap>): string => `${change.type} ${change.object.data?.['text']}${change.type === 'updated' ? ` was ${change.old.data?.['text']}` : ''}`

interface Watched {
  store: Store<ConfigMap>
  /** Every change as one sentence. */
  changes: string[]
}
const watched = (): Watched => {
  const store = createStore<ConfigMap>({ log: logLines().log })
  const changes: string[] = []
  store.onChange((change) => changes.push(told(change)))
  return { store, changes }
}
const texts = (store: Pick<Store<ConfigMap>, 'values'>): string[] => [...store.values()].map(({ data }) => data?.['text'] ?? '').toSorted()

const CASES: Record<string, { does: (store: Store<ConfigMap>) => void; holds: string[]; tells: string[] }> = {
  'events add, update and delete': {
    does: (store) => {
      store.apply({ type: 'ADDED', object: object('a', 1) })
      store.apply({ type: 'MODIFIED', object: object('a', 2) })
      store.apply({ type: 'ADDED', object: object('b', 3) })
      store.apply({ type: 'DELETED', object: object('a', 4, { text: 'the last of a' }) })
    },
    holds: ['b@3'],
    tells: ['added a@1', 'updated a@2 was a@1', 'added b@3', 'deleted the last of a'],
  },
  'a list is taken as a difference, deletions too': {
    does: (store) => {
      store.replaceAll([object('a', 1), object('b', 2), object('c', 3)], '3')
      store.replaceAll([object('b', 2), object('c', 5), object('d', 6)], '6')
    },
    holds: ['b@2', 'c@5', 'd@6'],
    tells: ['added a@1', 'added b@2', 'added c@3', 'deleted a@1', 'updated c@5 was c@3', 'added d@6'],
  },
  'what a writer put is there at once, and its own event tells nothing new': {
    does: (store) => {
      store.replaceAll([object('a', 1)], '1')
      store.put(object('a', 10))
      store.apply({ type: 'MODIFIED', object: object('a', 10) })
    },
    holds: ['a@10'],
    tells: ['added a@1', 'updated a@10 was a@1'],
  },
  'an older event never overwrites what a writer put': {
    does: (store) => {
      store.put(object('a', 10))
      store.apply({ type: 'ADDED', object: object('a', 2) })
      store.apply({ type: 'MODIFIED', object: object('a', 9) })
    },
    holds: ['a@10'],
    tells: ['added a@10'],
  },
  'versions compare as numbers': {
    does: (store) => {
      store.put(object('a', '9007199254740993'))
      store.apply({ type: 'MODIFIED', object: object('a', '9007199254740992') })
      store.apply({ type: 'ADDED', object: object('b', 99) })
      store.apply({ type: 'MODIFIED', object: object('b', 100) })
    },
    holds: ['a@9007199254740993', 'b@100'],
    tells: ['added a@9007199254740993', 'added b@99', 'updated b@100 was b@99'],
  },
  'versions that are no numbers: the event counts': {
    does: (store) => {
      store.put(object('a', 'z'))
      store.apply({ type: 'MODIFIED', object: object('a', 'b') })
      store.apply({ type: 'MODIFIED', object: object('a', 'b', { text: 'again' }) })
    },
    holds: ['again'],
    tells: ['added a@z', 'updated a@b was a@z', 'updated again was a@b'],
  },
  'a late answer does not resurrect what the stream told as deleted': {
    does: (store) => {
      store.replaceAll([object('a', 1)], '1')
      store.apply({ type: 'DELETED', object: object('a', 12) })
      store.put(object('a', 11))
      store.put(object('a', 12))
    },
    holds: [],
    tells: ['added a@1', 'deleted a@12'],
  },
  'a late answer does not resurrect what a list no longer had': {
    does: (store) => {
      store.replaceAll([object('b', 5)], '20')
      store.put(object('a', 19))
    },
    holds: ['b@5'],
    tells: ['added b@5'],
  },
  'an event from before a deletion of what was put tells nothing; the deletion does': {
    does: (store) => {
      store.replaceAll([], '5')
      store.put(object('a', 10))
      store.apply({ type: 'ADDED', object: object('a', 8) })
      store.apply({ type: 'MODIFIED', object: object('a', 10) })
      store.apply({ type: 'DELETED', object: object('a', 12) })
    },
    holds: [],
    tells: ['added a@10', 'deleted a@12'],
  },
  'an old deletion leaves the successor that a writer put, and a successor is another object': {
    does: (store) => {
      store.replaceAll([object('a', 1)], '1')
      store.put(object('a', 10, { uid: 'successor' }))
      store.apply({ type: 'DELETED', object: object('a', 9) })
      store.apply({ type: 'ADDED', object: object('a', 10, { uid: 'successor' }) })
    },
    holds: ['a@10'],
    tells: ['added a@1', 'deleted a@1', 'added a@10'],
  },
  'an object that leaves the selector by our own write goes, in either order of answer and event': {
    does: (store) => {
      store.replaceAll([object('a', 1), object('b', 2)], '2')
      store.put(object('a', 10))
      store.apply({ type: 'DELETED', object: object('a', 10) })
      store.apply({ type: 'DELETED', object: object('b', 11) })
      store.put(object('b', 11))
    },
    holds: [],
    tells: ['added a@1', 'added b@2', 'updated a@10 was a@1', 'deleted a@10', 'deleted b@11'],
  },
  'what was put and never came by the stream goes when the stream is past it': {
    does: (store) => {
      store.replaceAll([], '5')
      store.put(object('unselected', 10))
      store.put(object('later', 20))
      store.passed('10')
    },
    holds: ['later@20'],
    tells: ['added unselected@10', 'added later@20', 'deleted unselected@10'],
  },
  'a list that is older than an answer does not take it away': {
    does: (store) => {
      store.replaceAll([], '5')
      store.put(object('a', 10))
      store.replaceAll([], '9')
    },
    holds: ['a@10'],
    tells: ['added a@10'],
  },
  'after a restore from a backup the list counts, not what was known': {
    does: (store) => {
      store.replaceAll([object('a', 90), object('b', 95)], '100')
      store.put(object('c', 120))
      store.replaceAll([object('a', 30)], '50')
      store.apply({ type: 'MODIFIED', object: object('a', 51) })
    },
    holds: ['a@51'],
    tells: ['added a@90', 'added b@95', 'added c@120', 'deleted b@95', 'deleted c@120', 'updated a@30 was a@90', 'updated a@51 was a@30'],
  },
}
for (const [sentence, { does, holds, tells }] of Object.entries(CASES)) {
  await test(sentence, async (t) => {
    const { store, changes } = watched()
    does(store)
    t.same({ holds: texts(store), tells: changes, size: store.size }, { holds, tells, size: holds.length })
  })
}

await test('indexes follow every change', async (t) => {
  const store = createStore<ConfigMap, 'colour' | 'namespace'>({
    indexes: {
      colour: ({ metadata }) => metadata.labels?.['colours']?.split('.') ?? [],
      namespace: ({ metadata }) => [metadata.namespace ?? ''],
    },
    log: logLines().log,
  })
  const names = (value: string): string[] => store.byIndex('colour', value).map(({ metadata }) => metadata.name).toSorted()
  store.apply({ type: 'ADDED', object: object('a', 1, { labels: { colours: 'red.blue' } }) })
  store.apply({ type: 'ADDED', object: object('b', 2, { labels: { colours: 'blue' } }) })
  t.same([names('red'), names('blue'), names('green')], [['a'], ['a', 'b'], []])
  store.put(object('a', 3, { labels: { colours: 'green' } }))
  t.same([names('red'), names('blue'), names('green')], [[], ['b'], ['a']])
  store.apply({ type: 'DELETED', object: object('a', 4) })
  t.same([names('green'), store.byIndex('namespace', 'ns').length, store.byIndex('namespace', 'other')], [[], 1, []])
  t.equal(store.get('ns', 'b')?.metadata.name, 'b')
  t.equal(store.get(undefined, 'b'), undefined)
})

await test('managedFields are dropped, trim drops more, and what was given stays as it is', async (t) => {
  const store = createStore<ConfigMap>({
    trim: (given) => {
      Reflect.deleteProperty(given, 'data')
      return given
    },
    log: logLines().log,
  })
  const given = { ...object('a', 1), metadata: { ...object('a', 1).metadata, managedFields: [{ manager: 'someone' }] } }
  store.put(given)
  t.strictSame(store.get('ns', 'a'), { metadata: object('a', 1).metadata })
  t.match(given, { data: { text: 'a@1' }, metadata: { managedFields: [{ manager: 'someone' }] } })
})

const fail = (): never => {
  throw new Error('no')
}

await test('a handler, an index or a trim that throws is logged and stops nobody', async (t) => {
  const { log, messages } = logLines()
  const store = createStore<ConfigMap, 'broken'>({ indexes: { broken: fail }, trim: fail, log })
  const heard: string[] = []
  store.onChange(fail)
  const end = store.onChange((change) => heard.push(told(change)))
  store.apply({ type: 'ADDED', object: object('a', 1) })
  end()
  store.apply({ type: 'DELETED', object: object('a', 2) })
  t.same(heard, ['added a@1'])
  t.same(store.byIndex('broken', 'x'), [])
  t.same(new Set(messages()), new Set(['error the trim of a store failed', 'error an index of a store failed', 'error a handler of a store failed']))
})

await test('a handler that changes the store: every handler hears all changes in one order', async (t) => {
  const store = createStore<ConfigMap>({ log: logLines().log })
  const heard: string[] = []
  store.onChange(({ object: { metadata } }) => {
    if (metadata.name === 'a') store.put(object('b', 2))
  })
  store.onChange((change) => heard.push(told(change)))
  store.put(object('a', 1))
  t.same(heard, ['added a@1', 'added b@2'])
})

/** A server with a history, and a stream of it that a selector filters. */
interface Version {
  version: number
  key: string
  /** undefined: deleted. */
  object: ConfigMap | undefined
  isSelected: boolean
}
const KEYS = ['a', 'b', 'c']

const selectedAt = (history: readonly Version[], position: number): Map<string, ConfigMap> => {
  const objects = new Map<string, ConfigMap>()
  for (const { key, object: state, isSelected } of history.slice(0, position)) {
    if (state !== undefined && isSelected) objects.set(key, state)
    else objects.delete(key)
  }
  return objects
}

await test('under any order of answers, events, lists and bookmarks the store is never behind the stream, resurrects nothing, and ends up right', async (t) => {
  const op = fc.oneof(
    { weight: 4, arbitrary: fc.record({ op: fc.constant('write' as const), key: fc.constantFrom(...KEYS), isSelected: fc.boolean() }) },
    { weight: 2, arbitrary: fc.record({ op: fc.constant('delete' as const), key: fc.constantFrom(...KEYS) }) },
    { weight: 4, arbitrary: fc.record({ op: fc.constant('deliver' as const), count: fc.integer({ min: 1, max: 4 }) }) },
    { weight: 4, arbitrary: fc.record({ op: fc.constant('put' as const), which: fc.nat(1_000) }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constant('bookmark' as const) }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constant('list' as const) }) },
    { weight: 1, arbitrary: fc.record({ op: fc.constant('answer list' as const) }) },
  )
  fc.assert(
    fc.property(fc.array(op, { maxLength: 60 }), (ops) => {
      const history: Version[] = []
      const answers: ConfigMap[] = []
      const store = createStore<ConfigMap, 'text'>({ indexes: { text: ({ data }) => [data?.['text'] ?? ''] }, log: logLines().log })
      const replayed = new Map<string, string | undefined>()
      let sound = true
      store.onChange((change) => {
        const { name, resourceVersion } = change.object.metadata
        sound &&= (change.type === 'added') === !replayed.has(name)
        if (change.type === 'deleted') replayed.delete(name)
        else replayed.set(name, resourceVersion)
      })
      /** How much of the history the stream has told; undefined while a list is under way. */
      let position = 0
      let snapshot: number | undefined
      /** The newest version that the store was told of. */
      let toldVersion = 0
      store.replaceAll([], '0')

      const deliver = (): void => {
        const next = history[position]
        if (next === undefined || snapshot !== undefined) return
        const before = selectedAt(history, position).get(next.key)
        position += 1
        if (before !== undefined || next.isSelected) toldVersion = next.version
        if (next.object !== undefined && next.isSelected) store.apply({ type: before === undefined ? 'ADDED' : 'MODIFIED', object: next.object })
        else if (before !== undefined) store.apply({ type: 'DELETED', object: { ...before, metadata: { ...before.metadata, resourceVersion: String(next.version) } } })
      }
      const answerList = (): void => {
        if (snapshot === undefined) return
        position = snapshot
        snapshot = undefined
        toldVersion = position
        store.replaceAll([...selectedAt(history, position).values()], String(position))
      }

      for (const one of ops) {
        if (one.op === 'write' || one.op === 'delete') {
          const last = history.findLast(({ key }) => key === one.key)?.object
          if (one.op === 'delete' && last === undefined) continue
          const version = history.length + 1
          const next = one.op === 'delete' ? undefined : object(one.key, version, { uid: last?.metadata.uid ?? `uid-${version}` })
          history.push({ version, key: one.key, object: next, isSelected: one.op === 'write' && one.isSelected })
          if (next !== undefined) answers.push(next)
        } else if (one.op === 'deliver') for (let count = 0; count < one.count; count += 1) deliver()
        else if (one.op === 'put') {
          const answer = answers[one.which % Math.max(1, answers.length)]
          if (answer !== undefined) store.put(answer)
        } else if (one.op === 'bookmark' && snapshot === undefined) {
          toldVersion = position
          store.passed(String(position))
        }
        if (one.op === 'list') snapshot ??= history.length
        else if (one.op === 'answer list') answerList()

        const streamed = selectedAt(history, position)
        for (const key of KEYS) {
          const here = Number(store.get('ns', key)?.metadata.resourceVersion ?? 0)
          const there = Number(streamed.get(key)?.metadata.resourceVersion ?? 0)
          // Newer than the stream, or exactly what the stream says.
          sound &&= here > toldVersion || here === there
          sound &&= String(here || '') === (replayed.get(key) ?? '')
        }
      }
      answerList()
      while (position < history.length) deliver()
      store.passed(String(history.length))
      const expected = [...selectedAt(history, history.length).values()]
      for (const { data } of expected) sound &&= store.byIndex('text', data?.['text'] ?? '').length === 1
      return sound && JSON.stringify(texts(store)) === JSON.stringify(expected.map(({ data }) => data?.['text'] ?? '').toSorted()) && replayed.size === expected.length
    }),
    { numRuns: 2_000 },
  )
  t.pass('holds')
})
