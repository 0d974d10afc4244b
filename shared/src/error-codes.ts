import type { SyncErrorCode } from './sync-error.ts'

/** What a code means to people, in whichever message it comes. docs/TROUBLESHOOTING.md is written from this. */
interface CodeText {
  means: string
  /** What to do, where the hint of the error does not say it better. */
  todo: string
  /** Whether the same again may succeed without anybody changing anything: `retryable` of most errors of this code. */
  again: 'yes' | 'sometimes' | 'no'
}

export const groups = {
  'Configuration and command line': ['usage', 'config-invalid', 'key-missing'],
  Databases: [
    'database-unknown',
    'database-unreachable',
    'database-auth',
    'database-missing',
    'database-pooler',
    'database-read-only',
    'database-version',
    'connection-lost',
    'permission-denied',
    'lock-timeout',
    'old-snapshot',
    'disk-full',
    'query-failed',
  ],
  'Policy, selection and plan': [
    'policy-denied',
    'policy-changed',
    'window-closed',
    'too-many-jobs',
    'archive-too-old',
    'database-mismatch',
    'target-protected',
    'same-database',
    'target-busy',
    'table-unknown',
    'selection-empty',
    'schema-mismatch',
    'extension-missing',
    'role-missing',
    'target-older',
    'target-not-empty',
    'target-empty',
    'unsupported-object',
    'row-drop',
    'schema-changed',
    'nothing-to-undo',
  ],
  'Object storage and archives': [
    'bucket-missing',
    'storage-auth',
    'storage-unreachable',
    'storage-failed',
    'archive-unknown',
    'archive-incomplete',
    'archive-damaged',
    'archive-untrusted',
  ],
  Search: [
    'mapping-invalid',
    'collection-unknown',
    'search-not-configured',
    'search-not-ready',
    'search-unreachable',
    'search-auth',
    'search-full',
    'search-failed',
    'search-changed',
    'documents-rejected',
    'search-shrunk',
    'search-proof-failed',
  ],
  Orders: [
    'order-too-large',
    'order-malformed',
    'order-wrong-type',
    'order-unknown-key',
    'order-bad-signature',
    'order-wrong-issuer',
    'order-wrong-audience',
    'order-expired',
    'order-not-yet-valid',
    'order-replayed',
    'order-superseded',
    'order-unknown-claim',
    'clock-skew',
  ],
  'The run of a job': [
    'canceled',
    'lease-lost',
    'fence-superseded',
    'already-done',
    'constraint-violated',
    'load-failed',
    'proof-failed',
    'outcome-unknown',
    'crashed',
    'internal',
  ],
  'The control plane': [
    'control-plane-unreachable',
    'control-plane-refused',
    'unauthorized',
    'forbidden',
    'agent-revoked',
    'enrollment-refused',
    'rate-limited',
    'not-ready',
    'not-found',
    'agent-unknown',
    'invalid-request',
    'malformed-json',
    'body-too-large',
    'unsupported-media-type',
    'method-not-allowed',
    'idempotency-conflict',
    'idempotency-busy',
    'conflict',
    'stale-epoch',
    'job-finished',
    'too-late',
    'event-gap',
  ],
} as const satisfies Record<string, readonly SyncErrorCode[]>

const no = (means: string, todo: string): CodeText => ({ means, todo, again: 'no' })
const yes = (means: string, todo: string): CodeText => ({ means, todo, again: 'yes' })
const sometimes = (means: string, todo: string): CodeText => ({ means, todo, again: 'sometimes' })

export const errorCodes: Record<SyncErrorCode, CodeText> = {
  usage: no('The command line, or what it asks for, cannot be meant.', 'Run `pnpm agent --help`.'),
  'config-invalid': no(
    'A variable or a file of the configuration is missing or wrong.',
    'Run `pnpm agent doctor`: it lists every mistake at once. Nothing was begun.',
  ),
  'key-missing': no(
    'A key file or the trust file is missing, or holds no valid key.',
    'Put the file back, name the right one, or make a key with `pnpm agent enroll`.',
  ),

  'database-unknown': no('The policy names no such database.', 'Correct the name, or add it to `agent.yaml`.'),
  'database-unreachable': yes(
    'No server answers at the address, or it takes no more connections.',
    'Check host, port, firewall, TLS and `max_connections`.',
  ),
  'database-auth': no('The server refused user or password.', "Correct the database's URL."),
  'database-missing': no('The server has no database of that name.', 'Correct the end of the URL, or create it.'),
  'database-pooler': no(
    'The URL leads to a pooler: a session does not keep its connection.',
    'Use the direct URL, or the session mode of the pooler.',
  ),
  'database-read-only': no('The target takes no writes.', 'Name the primary, or lift `default_transaction_read_only`.'),
  'database-version': no(
    'The server is older than PostgreSQL 13, or newer than 18.',
    'Upgrade the server, or the agent.',
  ),
  'connection-lost': yes(
    'A connection to a database broke, or its server was restarted.',
    'Look at network and server; start the job again.',
  ),
  'permission-denied': no(
    "The agent's role lacks a right.",
    'Grant what the details name. `pnpm agent doctor` lists all.',
  ),
  'lock-timeout': yes(
    'Somebody holds locks on the tables for too long.',
    'End that session, or wait for it; start the job again.',
  ),
  'old-snapshot': yes(
    'A transaction that is older than the new rows is open.',
    'End it (a forgotten BEGIN, a report, a running pg_dump); start the job again.',
  ),
  'disk-full': no(
    "The disk of the target's server, or of the agent's state folder, has no room.",
    'Make room, then start the job again.',
  ),
  'query-failed': sometimes(
    'PostgreSQL answered something that the agent did not foresee.',
    "Look up the SQLSTATE of the message, and look at the agent's log.",
  ),

  'policy-denied': no('No route of the policy allows it.', 'Add a route to `agent.yaml`, or ask for something else.'),
  'policy-changed': no(
    'The policy was changed between order and start.',
    'Ask again: the next order is made for the new policy.',
  ),
  'window-closed': no("The route's window is closed now.", 'Ask again when it is open: the error says when.'),
  'too-many-jobs': no(
    'The route allows no more jobs on this target today, or so soon after the last.',
    'Ask again later: the error says when.',
  ),
  'archive-too-old': no(
    'The archive is older than the route allows.',
    'Choose a younger one, or change `max_archive_age`.',
  ),
  'database-mismatch': no(
    'The URL leads to another database than the one pinned.',
    'Correct the URL; change the pin only if the database was moved on purpose.',
  ),
  'target-protected': no('The database is protected: no route leads to it.', 'Choose another target.'),
  'same-database': no('Source and target are one database under two names.', 'Correct one of the URLs.'),
  'target-busy': yes('Another job works on the target.', 'Wait for its end, or cancel it.'),
  'table-unknown': no('No table matches the pattern.', 'Names are case-sensitive; the hint names similar ones.'),
  'selection-empty': no('Patterns and route together leave no table.', 'Change one of them.'),
  'schema-mismatch': no('The rows do not fit the tables of the target.', 'Run your migrations on the older side.'),
  'extension-missing': no("The target's server lacks an extension.", 'Install it there.'),
  'role-missing': no('Row security policies name roles that the target lacks.', 'Create them: nologin is enough.'),
  'target-older': no(
    'The target runs an older major version than the source.',
    'Restore into the same or a newer one.',
  ),
  'target-not-empty': no(
    'The tables cannot be created because they, or others of the same name, are there.',
    'Use another engine, or an empty database.',
  ),
  'target-empty': no('The target lacks tables that should be replaced.', 'Use the engine `create` or `auto`.'),
  'unsupported-object': no(
    'Something there is not carried, or forbids a change.',
    'Leave it out, or remove it: docs/COVERAGE.md tells of each kind.',
  ),
  'row-drop': no(
    'A table would lose more rows than the route allows.',
    'Look at the source: was it emptied? Else raise `max_row_drop_pct` for once.',
  ),
  'schema-changed': sometimes(
    'Somebody changed definitions while the job ran, or since the job to be undone.',
    'Start the job again when the migration is over.',
  ),
  'nothing-to-undo': no(
    'There is nothing that this undo could put back.',
    'The hint names what can be undone or restored.',
  ),

  'bucket-missing': no('There is no such bucket.', 'Create it, or correct S3_BUCKET and S3_ENDPOINT.'),
  'storage-auth': no(
    'The object store refused the key, or the key lacks a right.',
    '`pnpm agent doctor` names the rights that lack; docs/S3-PROVIDERS.md has the policy.',
  ),
  'storage-unreachable': yes('The object store does not answer.', 'Check S3_ENDPOINT, network and the store.'),
  'storage-failed': sometimes(
    'The object store failed, is full, or did not keep what it was given.',
    'The message has its own code word; look at the store.',
  ),
  'archive-unknown': no('The bucket has no such archive.', 'List them: `pnpm agent archives`. Check S3_PREFIX.'),
  'archive-incomplete': no('The archive lacks its manifest or objects.', 'Choose another archive.'),
  'archive-damaged': no(
    'The archive is not what was written.',
    'Choose another one; find out who can write to the bucket.',
  ),
  'archive-untrusted': no(
    'The archive is signed by a key that is not trusted here, or not signed.',
    '`pnpm agent archives keys` shows by whom; see docs/OPERATION.md, "Recovery from nothing".',
  ),

  'mapping-invalid': no('The mapping of a collection does not fit the database.', 'Correct it in `agent.yaml`.'),
  'collection-unknown': no('The policy names no such collection.', 'Correct the alias.'),
  'search-not-configured': no(
    'The policy has collections, and no search server is configured.',
    'Set TYPESENSE_HOST and TYPESENSE_API_KEY, or use `--no-reindex`.',
  ),
  'search-not-ready': no(
    'The search server, its key or the mapping would not let the index follow.',
    'Each finding says what to do. `--no-reindex` goes on without the search.',
  ),
  'search-unreachable': yes(
    'The search server does not answer.',
    'Check TYPESENSE_HOST and the server; `pnpm agent reindex`.',
  ),
  'search-auth': no('The search server refused the key.', 'Make a key as docs/TYPESENSE.md says.'),
  'search-full': sometimes('The search server has no memory or disk left.', 'Make room; then `pnpm agent reindex`.'),
  'search-failed': sometimes(
    'The search server answered something that cannot be right.',
    'Look at its log; `pnpm agent reindex`.',
  ),
  'search-changed': sometimes(
    'Somebody else changed the collection or the alias meanwhile.',
    'Find out who; then `pnpm agent reindex`.',
  ),
  'documents-rejected': no('The search server refused documents.', 'The details name fields; correct the mapping.'),
  'search-shrunk': no(
    'The rows make fewer documents than the mapping lets through.',
    'Look at the rows; else change `verify` of the mapping.',
  ),
  'search-proof-failed': sometimes(
    'What the index holds is not what the rows make.',
    '`pnpm agent reindex --full`; report it if it repeats.',
  ),

  'order-too-large': no('The order is larger than 64 KiB.', 'Name fewer tables.'),
  'order-malformed': no(
    'It does not have the form of an order.',
    'Look at what stands between agent and control plane.',
  ),
  'order-wrong-type': no('It is a token of another kind.', 'Look at what stands between agent and control plane.'),
  'order-unknown-key': no(
    'The key that signed the order is not in the trust file, or not valid today.',
    "If it is your control plane's: `pnpm keys trust`, then SIGHUP.",
  ),
  'order-bad-signature': no('The signature does not fit the order.', 'Somebody changed it on the way: find out who.'),
  'order-wrong-issuer': no(
    'The order is from a control plane of another address.',
    'CONTROL_PLANE_URL and PUBLIC_URL must have one origin.',
  ),
  'order-wrong-audience': no('The order is for another agent.', 'Give each agent an AGENT_ID of its own.'),
  'order-expired': no(
    'The order came more than five minutes after it was signed.',
    'Ask again; compare the clocks if it repeats.',
  ),
  'order-not-yet-valid': no('The order is dated in the future.', 'Set both clocks by NTP.'),
  'order-replayed': no(
    'The order, or its job, was done before. Nothing was done again.',
    'Ask for a new job to do it once more.',
  ),
  'order-superseded': no(
    'The agent has seen a newer order of this job.',
    'Look whether two agents run under one name.',
  ),
  'order-unknown-claim': no(
    'The order says something that this agent does not understand.',
    'The control plane is newer: upgrade the agent.',
  ),
  'clock-skew': no('Two clocks differ too much.', 'Set both by NTP: `timedatectl set-ntp true`.'),

  canceled: no('Somebody stopped it before the commit.', 'Start it again when it is wanted.'),
  'lease-lost': no(
    'The control plane could not be told in time that the job goes on. Nothing was changed.',
    'Look at the connection between agent and control plane; start the job again.',
  ),
  'fence-superseded': no('A newer job took the target. Nothing was changed by this one.', 'Look at the newer job.'),
  'already-done': no('The target has a receipt of this job: it was done.', 'Ask for a new job to do it once more.'),
  'constraint-violated': no(
    'The rows would break a constraint of the target.',
    'The message names it: look at rows of tables outside the job.',
  ),
  'load-failed': no('Loading ended without saying why.', "Look at the agent's log and report it."),
  'proof-failed': no(
    'The loaded rows are not those of the archive. All was rolled back.',
    'Look for triggers and rules on the tables; report it if there are none.',
  ),
  'outcome-unknown': no(
    'The connection broke at the commit, and the target cannot be asked.',
    'Start the agent when the target is back: it reads the receipt and tells.',
  ),
  crashed: no(
    "The agent's process ended in the middle of the job.",
    'Start the job again. Look for the kernel having killed it (memory).',
  ),
  internal: no('Something that nobody foresaw.', 'The log has the cause: report it as a bug.'),

  'control-plane-unreachable': yes(
    'The control plane does not answer.',
    'The agent goes on trying. Check address, network and proxy.',
  ),
  'control-plane-refused': no(
    'The control plane refused a call of the agent for a reason that it does not know.',
    'Upgrade the control plane first, then the agents.',
  ),
  unauthorized: no(
    'Nobody is known by this key or token.',
    'Of an agent: enrol it, check AGENT_ID, CONTROL_PLANE_URL and the clock. Of a person: another token.',
  ),
  forbidden: no('The role is too small, or a browser asked from elsewhere.', 'Use a token of the role that is named.'),
  'agent-revoked': no('The agent was put out.', 'A new code, and `pnpm agent enroll --code …`, lets it in again.'),
  'enrollment-refused': no('The code is unknown, used, or older than ten minutes.', 'Ask an admin for another one.'),
  'rate-limited': yes('Too many calls.', 'Wait as long as Retry-After says.'),
  'not-ready': yes(
    "The control plane's database does not answer, or lacks a migration.",
    'Look at the database; run `pnpm migrate`.',
  ),
  'not-found': no('There is no such path, job, archive, agent or token.', 'Check the id and the address.'),
  'agent-unknown': sometimes('No such agent, or it has never polled.', 'Start the agent and ask again.'),
  'invalid-request': no('The body, the query or a name is not as it must be.', '`errors` names the fields.'),
  'malformed-json': no('The body is not JSON.', 'Correct it.'),
  'body-too-large': no('The body is larger than 1 MiB.', 'Send less.'),
  'unsupported-media-type': no('The body is not declared as JSON.', 'Send `content-type: application/json`.'),
  'method-not-allowed': no('The path knows other methods.', '`Allow` names them.'),
  'idempotency-conflict': no('The key was used for another request.', 'Take a new Idempotency-Key.'),
  'idempotency-busy': yes('The same request is still at work.', 'Send it again in a moment.'),
  conflict: no('It contradicts what is there.', 'The hint says with what.'),
  'stale-epoch': no('The agent speaks for a lease that is over.', 'Nothing: the agent stops that run by itself.'),
  'job-finished': no('The job has ended already.', 'Look at its result.'),
  'too-late': no('The job is at its swap, or past it.', 'Wait for its end, and undo it.'),
  'event-gap': yes('Events before these are missing.', 'Nothing: the agent sends them.'),
}
