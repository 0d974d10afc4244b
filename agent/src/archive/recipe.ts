import type { Manifest } from '@multiboard-sync/shared/manifest'
import type { Codec } from './codec.ts'
import { encodeTable } from './object-names.ts'
import type { ManifestSigner, SignerJwk } from './sign-manifest.ts'

/** RESTORE.txt: how a person restores this archive with PostgreSQL's own tools, should ours be gone. */
export function writeRecipe(
  manifest: Omit<Manifest, 'objects' | 'totals'>,
  { command, extension }: Pick<Codec, 'command' | 'extension'>,
  signer: Pick<ManifestSigner, 'kid' | 'publicJwk'>,
): string {
  const [tool = ''] = command.split(' ')
  const major = Math.floor(manifest.source.server_version / 10_000)
  const example = manifest.tables[0] ? encodeTable(manifest.tables[0]) : 'public.Example'
  const partial = manifest.filters.tables
    ? `\nThis archive is PARTIAL. It holds only the tables asked for: ${JSON.stringify(manifest.filters.tables)}\n`
    : ''
  return `HOW TO RESTORE THIS ARCHIVE WITH PSQL ALONE

Archive ${manifest.id} of the database "${manifest.source.database}" (PostgreSQL ${major}).
All it takes is psql ${major} or newer, ${tool} and a tool that reads S3.
${partial}
1. Copy this whole folder from the bucket to a disk, into a folder of its own, and go there.
   Any S3 tool does it, for example:
     aws s3 cp --recursive s3://BUCKET/PREFIX/${manifest.kind === 'export' ? 'archives' : 'backups'}/${manifest.id}/ restore/
     cd restore
   (Not on a disk that ignores case: there "Tag" and "tag" would overwrite each other.)

2. Make an EMPTY database. Never restore into one that is in use.
     createdb -T template0 -E UTF8 empty_db

3. Restore. The order matters: 000, 100-data, 800, 900.
     cat 000* 100-data/*/* 800* 900* | ${command} | psql -v ON_ERROR_STOP=1 -1 empty_db
   Everything happens in one transaction: after an error the database is as empty as before.
   When the shell says "Argument list too long":
     (cat 000*; find 100-data -name '*.sql${extension}' -print0 | sort -z | xargs -0 cat; cat 800* 900*) \\
       | ${command} | psql -v ON_ERROR_STOP=1 -1 empty_db

4. Afterwards: analyze.
     psql -c 'analyze' empty_db

A SINGLE TABLE
  Its rows only, into a table that exists and is empty:
     cat 100-data/${example}/* | ${command} | psql -v ON_ERROR_STOP=1 -1 some_db
  To look at them:
     cat 100-data/${example}/* | ${command} | head
  A table's folder is schema.table, with every byte but letters, digits, _ and - written as %XX.
  Its definition is in 000-pre-data.sql${extension}, its indexes and constraints are in 900-post-data.sql${extension}.

WHAT IS NOT INSIDE
  Roles, passwords, owners and grants; tablespaces; settings of the server or the database; other databases.
  Restored objects belong to whoever runs psql. Policies that name roles need these roles to exist before.

IS IT UNDAMAGED?
  manifest.json names every object with its size and SHA-256 (compare with: sha256sum FILE) and the number of rows.
  manifest.json.jws signs it: a JWS (RFC 7515, detached payload, Ed25519) by the agent that made the archive.
${signer.publicJwk ? keyText(manifest.agent, signer.kid, signer.publicJwk) : ''}`
}

function keyText(agent: string, kid: string, { kty, crv, x }: SignerJwk): string {
  return `  The agent "${agent}" signed it with the key ${kid} (RFC 7638). Its public half:
${KEY_INDENT}${JSON.stringify({ kty, crv, x })}
  Whoever can write to the bucket could have put another key here: compare the key's name with what you know of the agent
  before you trust it (docs/OPERATION.md, "Recovery from nothing").
`
}

const KEY_INDENT = '     '

/** The public key that a RESTORE.txt tells of; undefined when it tells of none. Nothing says yet that it is the right one. */
export function readRecipeKey(recipe: string): SignerJwk | undefined {
  const x = /^ *\{"kty":"OKP","crv":"Ed25519","x":"([A-Za-z0-9_-]{43})"\}$/m.exec(recipe)?.[1]
  return x === undefined ? undefined : { kty: 'OKP', crv: 'Ed25519', x }
}
