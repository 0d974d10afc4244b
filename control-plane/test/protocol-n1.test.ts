import { Ajv2020 } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import { recorded, requestSchemas, type RecordedCall } from '@multiboard-sync/shared/testing/protocol-v1-n1'
import { expect, test } from 'vitest'
import { post, startSurroundings, type Agent, type Surroundings } from './surroundings.ts'

/*
 * The previous version's agent and people against this control plane: what they said is said again, with the ids of now and
 * signed afresh, and every answer must still hold all that they read in it.
 */

/** What an agent or a program decides by: it must be the same, not only of the same type. */
const DECIDING = new Set(['ack_aseq', 'cancel', 'state', 'code', 'outcome', 'target_state', 'kind', 'epoch', 'aud'])

const JOB_ID = /\bj[0-9a-hjkmnp-tv-z]{12}\b/g

test.each(['jobs', 'refusals'] as const)('G17: an agent of the previous version is understood: %s', async (name) => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps1')
  // What the recording calls a job, and what it is called here.
  const ids = new Map<string, string>()
  const translate = (text: string): string => text.replaceAll(JOB_ID, (id) => ids.get(id) ?? id)
  let calls = 0
  for (const call of recorded(name)) {
    if ('lapse' in call) {
      await here.letLapse(translate(call.lapse))
      continue
    }
    calls += 1
    const label = `${calls}: ${call.method} ${call.path}`
    const body: unknown = call.body === undefined ? undefined : JSON.parse(translate(JSON.stringify(call.body)))
    const path = translate(call.path)
    const answer = await (call.who === 'agent'
      ? ask(here, agent, path, body, call)
      : here.person(call.method, path, body))
    const reply = readOrder(answer.body)
    const isNewJob = call.method === 'POST' && answer.status === 201
    if (isNewJob) ids.set(String(call.reply['id']), answer.body.id)
    expect(answer.status, `${label}: ${JSON.stringify(answer.body)}`).toBe(call.status)
    expect(answer.headers.get('content-type')?.split(';')[0], label).toBe(call.type ?? 'application/json')
    expect(missing(JSON.parse(translate(JSON.stringify(call.reply))), reply), label).toEqual([])
  }
  expect(calls).toBeGreaterThan(20)
})

test('G18: a refusal and a failure with codes that nobody knows here end their jobs as what they were', async () => {
  await using here = await startSurroundings()
  const agent = await here.registerAgent('vps1')
  const sync = { kind: 'sync', source: 'production', target: 'staging' }
  const refused = await here.ask(sync)
  const order = await agent.claim()
  const no = { epoch: 1, verdict: 'refused', code: 'moon-phase-wrong', message: 'The moon is full.', hint: 'Wait.' }
  expect((await agent.call(`/v1/agent/jobs/${order?.job.id}/accept`, no)).status).toBe(200)
  expect(await here.job(refused.id)).toMatchObject({ state: 'refused', code: 'moon-phase-wrong', hint: 'Wait.' })

  const failed = await here.ask(sync)
  const begun = await agent.begin()
  const end = { outcome: 'failed', code: 'moon-phase-wrong', target_state: 'rolled_back' } as const
  expect((await agent.complete(begun, end)).status).toBe(200)
  expect(await here.job(failed.id)).toMatchObject({
    state: 'failed',
    code: 'moon-phase-wrong',
    target_state: 'rolled_back',
  })
})

async function ask(here: Surroundings, agent: Agent, path: string, body: unknown, { wrong_signature }: RecordedCall) {
  if (wrong_signature !== true) return await agent.call(path, body)
  return await post(`${here.control.url}${path}`, JSON.stringify(body), 'MBS-JWS e30.eyJpc3MiOiJ2cHMxIn0.AAAA')
}

const validateOrder = (() => {
  const ajv = new Ajv2020({ strict: false })
  addFormats.default(ajv)
  return ajv.compile(requestSchemas().order)
})()

/** An order is opened and must be one that the previous version's agent, which is strict, would take. */
function readOrder(body: object): object {
  if (!('order' in body) || typeof body.order !== 'string') return body
  const claims = decodeJwt(body.order)
  validateOrder(claims)
  expect(validateOrder.errors ?? []).toEqual([])
  const header = decodeProtectedHeader(body.order)
  expect(Object.keys(header).toSorted()).toEqual(['alg', 'kid', 'typ'])
  return { ...body, order: { header, claims } }
}

/** What the recorded answer has and this one lacks: fields, types, and values by which somebody decides. */
function missing(before: unknown, now: unknown, path = ''): string[] {
  if (Array.isArray(before)) {
    if (!Array.isArray(now)) return [`${path} is no array`]
    if (before.length > now.length) return [`${path} is shorter`]
    return before.flatMap((value, index) => missing(value, now[index], path))
  }
  if (typeof before !== 'object' || before === null) {
    const name = path.slice(path.lastIndexOf('.') + 1)
    if (DECIDING.has(name) && before !== now) return [`${path} is ${String(now)}, not ${String(before)}`]
    return typeof before === typeof now || before === null || now === null ? [] : [`${path} is of another type`]
  }
  if (typeof now !== 'object' || now === null) return [`${path} is missing`]
  return Object.entries(before).flatMap(([key, value]) =>
    Object.hasOwn(now, key) ? missing(value, Reflect.get(now, key), `${path}.${key}`) : [`${path}.${key} is missing`],
  )
}
