import { createHash, generateKeyPairSync } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { parseArgs } from 'node:util'

/*
 * Makes the keys of an installation: one Ed25519 key with which the control plane signs orders, one with which an agent
 * signs its requests and archives, and the agent's trust file.
 *
 *     node scripts/make-keys.ts [--dir keys]
 *
 * Never overwrites a file: a key that is lost cannot be made again.
 */

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
  for (const path of Object.values(made) as string[]) {
    if (existsSync(path)) throw Object.assign(new Error(`${path} is already there`), { code: 'EEXIST', path })
  }
  const controlPlane = makeKey()
  const agent = makeKey()
  await writeNew(made.controlPlaneKeyFile, controlPlane.privateJwk)
  await writeNew(made.trustFile, { keys: [{ kid: controlPlane.kid, use: 'order', jwk: controlPlane.publicJwk }] })
  await writeNew(made.agentKeyFile, agent.privateJwk)
  await writeNew(made.agentPublicFile, agent.publicJwk)
  return made
}

/** An Ed25519 key as JWK (RFC 8037); `kid` is the RFC 7638 thumbprint: SHA-256 of the required members in this order. */
function makeKey() {
  const { x = '', d = '' } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' })
  const [kty, crv] = ['OKP', 'Ed25519']
  const kid = createHash('sha256').update(JSON.stringify({ crv, kty, x })).digest('base64url')
  return { kid, publicJwk: { kty, crv, x }, privateJwk: { kty, crv, x, d } }
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
    The agent's public key. Tell it to the control plane, once, with the agent's AGENT_ID:
    curl -X POST "$PUBLIC_URL/v1/agents" -H "authorization: Bearer $ADMIN_TOKEN" \\
      -d "{\\"id\\":\\"$AGENT_ID\\",\\"public_jwk\\":$(cat ${name(made.agentPublicFile)})}"

Keep a copy of the private keys where only you can read it. Do not commit them.`
}

async function main(): Promise<number> {
  let dir: string
  try {
    const args = process.argv.slice(2).filter((word, index) => !(word === '--' && index === 0))
    dir = parseArgs({ args, options: { dir: { type: 'string', default: 'keys' } } }).values.dir
  } catch (error) {
    console.error(`${(error as Error).message}\nusage: pnpm keys [--dir keys]`)
    return 2
  }
  try {
    console.log(describe(await makeKeys(dir)))
    return 0
  } catch (error) {
    const { code, message, path } = error as NodeJS.ErrnoException
    console.error(
      code === 'EEXIST'
        ? `${path ?? dir} is already there and is not overwritten. Name another folder with --dir.`
        : `The keys could not be written: ${message}`,
    )
    return 1
  }
}

if (import.meta.main) process.exitCode = await main()
