import { test } from 'tap'
import { createPodEvents } from '../../src/csi/pod-events.ts'
import type { EventRecord } from '../../src/kube/ports.ts'
import { MOUNT_POD } from '../support/mount-facts.ts'

const volume = (volumeId: string) => ({ volumeId, volumeName: 'tools', pod: MOUNT_POD })

const recorded = (max?: number) => {
  const events: EventRecord[] = []
  const emit = async (event: EventRecord): Promise<void> => void events.push(event)
  return { events, pod: createPodEvents({ emit }, max) }
}

await test('an Event names the volume and stands at the Pod; a warning is one', async (t) => {
  const { events, pod } = recorded()
  pod.tell(volume('a'), 'AccessWaiting', 'waiting for ApprovalTask cicd/deploy-prod')
  pod.tell(volume('a'), 'AccessRefused', 'it was rejected')
  const regarding = { apiVersion: 'v1', kind: 'Pod', namespace: 'cicd', name: 'build-1', uid: 'uid-1' }
  t.strictSame(events, [
    { regarding, type: 'Normal', reason: 'AccessWaiting', action: 'Mount', note: 'volume "tools": waiting for ApprovalTask cicd/deploy-prod' },
    { regarding, type: 'Warning', reason: 'AccessRefused', action: 'Mount', note: 'volume "tools": it was rejected' },
  ])
  await pod.settled()
})

await test('once per change of the sentence and volume, not per try', (t) => {
  const { events, pod } = recorded()
  for (const sentence of ['one', 'one', 'two', 'two', 'one']) pod.tell(volume('a'), 'AccessWaiting', sentence)
  pod.tell(volume('b'), 'AccessWaiting', 'one')
  pod.tell(volume('a'), 'TokenExpirationIgnored', 'of the token')
  pod.tell(volume('a'), 'AccessWaiting', 'one')
  t.strictSame(
    events.map(({ note }) => note),
    ['one', 'two', 'one', 'one', 'of the token'].map((sentence) => `volume "tools": ${sentence}`),
  )
  pod.forget('a')
  pod.tell(volume('a'), 'AccessWaiting', 'one')
  t.equal(events.length, 6)
  t.end()
})

await test('only so many volumes are remembered: what was spoken of longest ago is forgotten first', (t) => {
  const { events, pod } = recorded(2)
  for (const id of ['a', 'b', 'a', 'c', 'a', 'b']) pod.tell(volume(id), 'AccessWaiting', 'one')
  t.equal(events.length, 4, 'a, b, c, and b once more')
  t.end()
})
