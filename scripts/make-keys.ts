import { generateKeyPairSync } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { parseArgs } from 'node:util'
import { addKey, removeKey, thumbprint, uses } from './keys/change-trust.ts'

/*
 * Makes the keys of an installation: one Ed25519 key with which the control plane signs orders, one with which an agent
 * signs its requests and archives, and the agent's trust file.
 *
 *     node scripts/make-keys.ts [--dir keys]
 *
 * For the exchange of the control plane's key: makes one alone, adds it to an agent's trust file, takes the old one out.
 *
 *     node scripts/make-keys.ts control-plane [--dir keys]
 *     node scripts/make-keys.ts trust <trust file> <key file> [--use order|archive] [--not-before <time>] [--not-after <time>]
 *     node scripts/make-keys.ts revoke <trust file> <kid>
 *
 * Never overwrites a key: one that is lost cannot be made again.
 */

const USAGE = `usage: pnpm keys [--dir keys]
       pnpm keys control-plane [--dir keys]
       pnpm keys trust <trust.json> <key.pub.json> [--use order|archive] [--not-before <time>] [--not-after <time>]
       pnpm keys revoke <trust.json> <kid>`

export interface MadeKeys {
  /** Private; the control plane's. */
  controlPlaneKeyFile: string
  /** Private; the agent's. */
  agentKeyFile: string
  /** Public; what the control plane is told of the agent. */
  agentPublicFile: string
  /** Public; what the agent trusts. */
  trustFile: string
}

/** Writes the four files, readable by their owner only. Rejects with EEXIST, having written nothing, if one is there. */
export async function makeKeys(folder: string): Promise<MadeKeys> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const made: MadeKeys = {
    controlPlaneKeyFile: join(folder, 'control-plane.key.json'),
    agentKeyFile: join(folder, 'agent.key.json'),
    agentPublicFile: join(folder, 'agent.pub.json'),
    trustFile: join(folder, 'trust.json'),
  }
  refuseExisting(Object.values(made))
  const controlPlane = makeKey()
  const agent = makeKey()
  await writeNew(made.controlPlaneKeyFile, controlPlane.privateJwk)
  await writeNew(made.trustFile, { keys: [{ kid: controlPlane.kid, use: 'order', jwk: controlPlane.publicJwk }] })
  await writeNew(made.agentKeyFile, agent.privateJwk)
  await writeNew(made.agentPublicFile, agent.publicJwk)
  return made
}

export interface MadeControlPlaneKey {
  kid: string
  /** Private; the control plane's. */
  keyFile: string
  /** Public; for the trust files of agents. */
  publicFile: string
}

/** Writes the next key of a control plane. Rejects with EEXIST, having written nothing, if a file is there. */
export async function makeControlPlaneKey(folder: string): Promise<MadeControlPlaneKey> {
  await mkdir(folder, { recursive: true, mode: 0o700 })
  const { kid, privateJwk, publicJwk } = makeKey()
  const made = {
    kid,
    keyFile: join(folder, 'control-plane.key.json'),
    publicFile: join(folder, 'control-plane.pub.json'),
  }
  refuseExisting([made.keyFile, made.publicFile])
  await writeNew(made.keyFile, privateJwk)
  await writeNew(made.publicFile, publicJwk)
  return made
}

function refuseExisting(paths: string[]): void {
  for (const path of paths) {
    if (existsSync(path)) throw Object.assign(new Error(`${path} is already there`), { code: 'EEXIST', path })
  }
}

/** An Ed25519 key as JWK (RFC 8037). */
function makeKey() {
  const { x = '', d = '' } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' })
  const [kty, crv] = ['OKP', 'Ed25519']
  return { kid: thumbprint({ x }), publicJwk: { kty, crv, x }, privateJwk: { kty, crv, x, d } }
}

async function writeNew(path: string, content: unknown): Promise<void> {
  await writeFile(path, `${JSON.stringify(content, undefined, 2)}\n`, { mode: 0o600, flag: 'wx' })
}

function describe(made: MadeKeys): string {
  const name = (path: string) => relative('.', path)
  return `Made:

${name(made.controlPlaneKeyFile)}
    Private. Belongs to the control plane alone: SIGNING_KEY_FILE names it, or SIGNING_KEY holds its text.
${name(made.trustFile)}
    The control plane's public key. Copy it to the agent's machine; TRUST_FILE names it. The agent obeys no other key.
${name(made.agentKeyFile)}
    Private. Move it to the agent's machine; AGENT_KEY_FILE names it.
${name(made.agentPublicFile)}
    The agent's public key. Tell it to the control plane, once, with the agent's AGENT_ID and the token of an admin
    (or leave both of the agent's files, and let \`pnpm agent enroll --code …\` make a key on the agent's machine):
    curl -X POST "$PUBLIC_URL/v1/agents" -H "authorization: Bearer $TOKEN" \\
      -H "content-type: application/json" -d "{\\"id\\":\\"$AGENT_ID\\",\\"public_jwk\\":$(cat ${name(made.agentPublicFile)})}"

Keep a copy of the private keys where only you can read it. Do not commit them.`
}

function describeNext({ kid, keyFile, publicFile }: MadeControlPlaneKey): string {
  return `Made ${kid}:

${relative('.', keyFile)}
    Private. The control plane's next key.
${relative('.', publicFile)}
    Its public half.

To exchange the key without a pause:
1. On each agent: pnpm keys trust <TRUST_FILE> ${relative('.', publicFile)}, then send the agent SIGHUP.
2. When GET /v1/agents shows ${kid} among the trusted_kids of every agent,
   start the control plane with the new key (SIGNING_KEY_FILE or SIGNING_KEY).
3. Five minutes later no order of the old key is good any more. On each agent:
   pnpm keys revoke <TRUST_FILE> <old kid>, then SIGHUP.
If the old key was stolen, do step 3 first: orders are refused until step 2 is done.`
}

async function run(args: string[]): Promise<string> {
  if (args.includes('--help') || args.includes('-h')) return USAGE
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      dir: { type: 'string', default: 'keys' },
      use: { type: 'string', default: 'order' },
      'not-before': { type: 'string' },
      'not-after': { type: 'string' },
    },
  })
  const [command, trustFile = '', key = '', ...more] = positionals
  const count = positionals.length
  if (command === undefined) return describe(await makeKeys(values.dir))
  if (command === 'control-plane' && count === 1) return describeNext(await makeControlPlaneKey(values.dir))
  if (command === 'trust' && count === 3) {
    const dates = { notBefore: values['not-before'], notAfter: values['not-after'] }
    const use = uses.find((one) => one === values.use)
    if (use === undefined) throw new TypeError(`--use must be one of: ${uses.join(', ')}`)
    const kid = await addKey(trustFile, key, use, dates)
    return `${trustFile} trusts ${kid} for ${use}s. Send the agent SIGHUP: it reads the file again.`
  }
  if (command === 'revoke' && count === 3) {
    await removeKey(trustFile, key)
    return `${trustFile} does not trust ${key} any more. Send the agent SIGHUP: it reads the file again.`
  }
  throw new TypeError(`not understood: ${[command, ...more].join(' ')}`)
}

async function main(): Promise<number> {
  try {
    console.log(await run(process.argv.slice(2).filter((word, index) => !(word === '--' && index === 0))))
    return 0
  } catch (error) {
    const { code, message, path } = error as NodeJS.ErrnoException
    if (error instanceof TypeError) {
      console.error(`${message}\n${USAGE}`)
      return 2
    }
    console.error(
      code === 'EEXIST'
        ? `${path ?? 'A file'} is already there and is not overwritten. Name another folder with --dir.`
        : `Nothing was changed: ${message}`,
    )
    return 1
  }
}

if (import.meta.main) process.exitCode = await main()
