import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { agentEnvSchema } from '../agent/src/env-schema.ts'
import { controlPlaneEnvSchema } from '../control-plane/src/env-schema.ts'
import { agentNodeOptions, agentProcessEnv } from './agent-process.ts'

/* What infra/ says of the programs is held against the programs: no engine and no server is needed for that. */

const read = (path: string): string => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8')
const isThere = (path: string): boolean => existsSync(new URL(`../${path}`, import.meta.url))
interface Service {
  profiles: string[]
  image: string
  build?: { context: string; dockerfile: string }
  environment?: Record<string, string>
  secrets?: string[]
  volumes?: string[]
  depends_on?: Record<string, { condition: string; required?: boolean }>
  networks?: string[] | Record<string, unknown>
  healthcheck?: { test: string[] }
  ports?: string[]
}
const compose = parse(read('infra/compose.yaml'), { merge: true }) as {
  services: Record<string, Service>
  networks: Record<string, object>
  volumes: Record<string, object>
  secrets: Record<string, { file: string }>
}
const services = Object.entries(compose.services)

function service(name: string): Service {
  const found = compose.services[name]
  if (found === undefined) throw new Error(`There is no service ${name}.`)
  return found
}

const DATABASE_URL = /^[A-Z0-9_]+_DATABASE_URL$/
/** Node's and the C library's own. */
const OF_OTHERS = new Set(['NODE_COMPILE_CACHE', 'MALLOC_ARENA_MAX'])

/** Those that the program would not read. */
function unknownTo(schema: typeof agentEnvSchema | typeof controlPlaneEnvSchema, names: string[]): string[] {
  const known = new Set(Object.keys(schema.shape))
  return names.filter((name) => {
    const plain = name.replace(/_FILE$/, '')
    if (known.has(name) || known.has(plain) || OF_OTHERS.has(name)) return false
    return !(schema === agentEnvSchema && DATABASE_URL.test(plain))
  })
}

/** `Environment=A=1 B=2`: the names. */
function unitEnvironment(unit: string): string[] {
  const lines = unit.match(/^Environment=(.*)$/gm) ?? []
  return lines.flatMap((line) => line.slice('Environment='.length).split(' ')).map((pair) => pair.split('=')[0] ?? '')
}

/** Files of ours that the code below a folder reads or imports, as paths from the root. */
function neededBy(folder: string): string[] {
  const files = readdirSync(new URL(`../${folder}`, import.meta.url), { recursive: true, encoding: 'utf8' })
  return files
    .filter((file) => file.endsWith('.ts') && !file.endsWith('.test.ts'))
    .flatMap((file) =>
      [...read(join(folder, file)).matchAll(/(?:from|import|new URL\()\s*'(\.\.?\/[^']+)'/g)].map(([, path = '']) =>
        join(folder, dirname(file), path),
      ),
    )
}

/** What a Dockerfile copies out of the checkout. */
const copiedBy = (dockerfile: string): string[] =>
  [...dockerfile.matchAll(/^COPY (?!--from)(.+)$/gm)].flatMap(([, rest = '']) => rest.split(' ').slice(0, -1))

/** Flags of `node … main.ts`. */
const flagsBeforeMain = (command: string): string[] =>
  [...command.slice(0, command.indexOf('agent/src/main.ts')).matchAll(/--[a-z][\w-]*(?:=\w+)?/g)].map(([flag]) => flag)

describe('compose.yaml', () => {
  test('agent and control plane are given variables that they read, and no others', () => {
    expect(unknownTo(agentEnvSchema, Object.keys(service('agent').environment ?? {}))).toEqual([])
    expect(unknownTo(controlPlaneEnvSchema, Object.keys(service('control-plane').environment ?? {}))).toEqual([])
    expect(unknownTo(agentEnvSchema, ['S3_BUCKTE', 'DATABASE_URL_FILE'])).toEqual(['S3_BUCKTE', 'DATABASE_URL_FILE'])
  })

  test('every variable that it takes from .env stands in .env.example, and every one there is taken', () => {
    const taken = new Set([...read('infra/compose.yaml').matchAll(/(?<!\$)\$\{([A-Z0-9_]+)/g)].map(([, name]) => name))
    const told = new Set([...read('infra/.env.example').matchAll(/^([A-Z0-9_]+)=/gm)].map(([, name]) => name))
    // Docker Compose itself reads the profiles; the version is for those who keep several images.
    taken.delete('SYNC_VERSION')
    told.delete('COMPOSE_PROFILES')
    expect(taken).toEqual(told)
  })

  test('a service is given exactly the secrets that it reads, prepare.sh makes each, and none lies in git', () => {
    for (const [name, { environment = {}, secrets = [], ...rest }] of services) {
      const read = [...JSON.stringify([environment, rest]).matchAll(/\/run\/secrets\/(\w+)/g)].map(
        ([, secret]) => secret,
      )
      expect(new Set(read), name).toEqual(new Set(secrets))
    }
    const used = new Set(services.flatMap(([, { secrets = [] }]) => secrets))
    expect(new Set(Object.keys(compose.secrets))).toEqual(used)
    const prepare = read('infra/prepare.sh')
    for (const [name, { file }] of Object.entries(compose.secrets)) {
      expect(file).toBe(`./secrets/${name}`)
      expect(prepare, name).toMatch(new RegExp(`(keep|asked) ${name}\\b`))
    }
    expect(read('infra/.gitignore').split('\n')).toEqual(expect.arrayContaining(['/secrets/', '/config/', '/.env']))
  })

  test('no value of a secret can stand in it, and nothing but Caddy can be reached from outside', () => {
    const secret = /PASSWORD|SECRET|KEY|TOKEN|DATABASE_URL/
    const values = services.flatMap(([, { environment = {} }]) => Object.entries(environment))
    for (const [variable, value] of values.filter(([variable]) => secret.test(variable))) {
      expect(value, variable).toMatch(/^\/run\/secrets\//)
    }
    const open = services.flatMap(([name, { ports = [] }]) => ports.map((port) => `${name} ${port}`))
    expect(open.filter((port) => !/^(caddy |\w+ 127\.0\.0\.1:)/.test(port))).toEqual([])
  })

  test('every service is hardened, limited, restarted, watched, and its log does not fill the disk', () => {
    for (const [name, service] of services) {
      expect(service, name).toMatchObject({
        restart: 'unless-stopped',
        init: true,
        read_only: true,
        cap_drop: ['ALL'],
        security_opt: ['no-new-privileges:true'],
        logging: { driver: 'json-file', options: { 'max-size': '10m', 'max-file': '5' } },
        mem_limit: expect.stringMatching(/^\d+[mg]$/),
        pids_limit: expect.any(Number),
        stop_grace_period: expect.stringMatching(/^\d+[sm]$/),
      })
      const isWatched = service.healthcheck ?? (service.build && /^HEALTHCHECK /m.test(read(service.build.dockerfile)))
      expect(isWatched, `${name} has a health check`).toBeTruthy()
      expect(service.image).not.toMatch(/(^[^:]*|:latest)$/)
    }
  })

  test('what a service depends on, mounts and joins is there, also when only some profiles are on', () => {
    for (const [name, { depends_on = {}, volumes = [], networks = [], profiles }] of services) {
      for (const [other, { required = true }] of Object.entries(depends_on)) {
        const isAlwaysThere = profiles.every((profile) => service(other).profiles.includes(profile))
        expect(isAlwaysThere || !required, `${name} needs ${other}`).toBe(true)
      }
      const named = volumes.map((volume) => volume.split(':')[0] ?? '').filter((source) => !/^[./]/.test(source))
      for (const volume of named) expect(Object.keys(compose.volumes)).toContain(volume)
      const joined = Array.isArray(networks) ? networks : Object.keys(networks)
      for (const network of joined) expect(Object.keys(compose.networks)).toContain(network)
    }
    const mounted = services.flatMap(([, { volumes = [] }]) => volumes.map((volume) => volume.split(':')[0]))
    for (const volume of Object.keys(compose.volumes)) expect(mounted).toContain(volume)
  })

  test('what the agent writes lies in volumes', () => {
    const targets = (service('agent').volumes ?? []).map((volume) => volume.split(':')[1])
    const image = read('infra/agent.Dockerfile')
    for (const variable of ['AGENT_STATE_DIR', 'NODE_COMPILE_CACHE']) {
      const [, folder] = new RegExp(`${variable}=(\\S+)`).exec(image) ?? []
      expect(targets).toContain(folder)
      expect(image).toMatch(new RegExp(`install -d -o 10001 .*${folder ?? ''}`))
    }
  })
})

describe('the images', () => {
  const images = ['agent', 'control-plane'].map((name) => ({ name, text: read(`infra/${name}.Dockerfile`) }))

  test('every file that is copied is there, and let through by .dockerignore', () => {
    const letThrough = read('.dockerignore').match(/(?<=^!).*$/gm) ?? []
    for (const { name, text } of images) {
      const copied = copiedBy(text)
      expect(copied.length, name).toBeGreaterThan(4)
      for (const path of copied) {
        expect(isThere(path), path).toBe(true)
        expect(letThrough, path).toContain(path)
      }
    }
    expect(read('.dockerignore')).toMatch(/^\*$/m)
  })

  test('whatever the code in them imports or reads is copied, too', () => {
    for (const { name, text } of images) {
      const copied = copiedBy(text)
      const needed = [...neededBy(`${name}/src`), ...neededBy('shared/src')]
      expect(needed.length, name).toBeGreaterThan(50)
      const missing = needed.filter((path) => !copied.some((from) => path === from || path.startsWith(`${from}/`)))
      expect(missing, name).toEqual([])
    }
  })

  test('they run as a user without rights, start Node itself, and know when they are well', () => {
    for (const { text } of images) {
      expect(text).toMatch(/^USER 10001:10001$/m)
      expect(text).toMatch(/^ENTRYPOINT \["node"/m)
      expect(text).toMatch(/^CMD \["/m)
      expect(text).toMatch(/^HEALTHCHECK [^\n]*(\\\n\s+)?CMD \["node", /m)
      const last = text.slice(text.lastIndexOf('\nFROM '))
      expect(last).toMatch(/^\nFROM debian:bookworm-slim\n/)
      expect(last).not.toMatch(/^RUN .*(npm|npx|apt-get)/m)
    }
  })

  test('they install with the pnpm that everything else uses', () => {
    const [, version] = /pnpm@([\d.]+)/.exec(read('.ci/run')) ?? []
    for (const { text } of images) expect(text).toContain(`npx --yes pnpm@${version ?? ''} install --prod`)
  })

  test("their variables are the programs' own", () => {
    const [agent, controlPlane] = images.map(({ text }) =>
      [...text.matchAll(/^(?:ENV|  )\s*([A-Z0-9_]+)=/gm)].map(([, name = '']) => name),
    )
    expect(agent?.length).toBeGreaterThan(4)
    expect(unknownTo(agentEnvSchema, agent ?? [])).toEqual([])
    expect(unknownTo(controlPlaneEnvSchema, controlPlane ?? [])).toEqual([])
  })

  test('image, unit and package.json start the agent with the same flags', () => {
    const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
    const [entrypoint = ''] = /^ENTRYPOINT .*$/m.exec(read('infra/agent.Dockerfile')) ?? []
    const [start = ''] = /^ExecStart=.*$/m.exec(read('infra/systemd/multiboard-sync-agent.service')) ?? []
    for (const command of [scripts['agent'] ?? '', entrypoint, start]) {
      expect(flagsBeforeMain(command)).toEqual(agentNodeOptions)
    }
    for (const name of ['infra/agent.Dockerfile', 'infra/systemd/multiboard-sync-agent.service']) {
      expect(read(name)).toContain(`MALLOC_ARENA_MAX=${agentProcessEnv.MALLOC_ARENA_MAX}`)
    }
  })
})

describe('the units', () => {
  const units = [
    { text: read('infra/systemd/multiboard-sync-agent.service'), schema: agentEnvSchema },
    { text: read('infra/systemd/multiboard-sync-control-plane.service'), schema: controlPlaneEnvSchema },
  ]

  test('name variables that the programs read, and a program that is there', () => {
    for (const { text, schema } of units) {
      expect(unitEnvironment(text).length).toBeGreaterThan(2)
      expect(unknownTo(schema, unitEnvironment(text))).toEqual([])
      const [, main = ''] = /^ExecStart=.*\/((?:agent|control-plane)\/src\/\S+\.ts)/m.exec(text) ?? []
      expect(isThere(main), main).toBe(true)
    }
  })

  test('let nothing be written but their own folders, and let V8 compile', () => {
    for (const { text } of units) {
      for (const line of [
        'ProtectSystem=strict',
        'NoNewPrivileges=yes',
        'CapabilityBoundingSet=',
        'PrivateUsers=yes',
      ]) {
        expect(text.split('\n')).toContain(line)
      }
      expect(text).not.toMatch(/^MemoryDenyWriteExecute=yes/m)
      expect(text).toMatch(/^MemoryMax=/m)
    }
  })
})

test('Caddy hands on every event at once, to the port where the control plane listens', () => {
  const caddy = read('infra/Caddyfile')
  expect(caddy).toMatch(/^\s*flush_interval -1$/m)
  const port = controlPlaneEnvSchema.shape.PORT.parse(undefined)
  expect(caddy).toContain(`{$CONTROL_PLANE:127.0.0.1:${port}}`)
  expect(service('caddy').environment?.['CONTROL_PLANE']).toBe(`control-plane:${port}`)
  expect(read('infra/control-plane.Dockerfile')).toMatch(new RegExp(`PORT=${port}$`, 'm'))
})
