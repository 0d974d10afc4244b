import { userSchemas } from './catalog.ts'
import { acl, aclList, comment, fact, notInExtension, owner, sorted, type FactScope } from './fingerprint-terms.ts'

/** Facts that lie in no schema. Options of foreign servers may hold secrets: only their hash is a fact. */
export function serverFacts(scope: FactScope): string[] {
  return [
    schemas(scope),
    extensions,
    languages(scope),
    accessMethods,
    eventTriggers(scope),
    publications(scope),
    ...(scope.version >= 150_000 ? [publicationSchemas] : []),
    wrappers(scope),
    servers(scope),
    ...(scope.owners ? [userMappings, defaultPrivileges] : []),
    securityLabels,
    transforms,
  ]
}

function schemas(scope: FactScope): string {
  return fact(
    'schema',
    [
      'n.nspname',
      owner(scope, 'n.nspowner'),
      acl(scope, 'n.nspacl', 'n', 'n.nspowner'),
      comment('n.oid', 'pg_namespace'),
    ],
    `ns n where ${notInExtension('pg_namespace', 'n.oid')}`,
  )
}

const extensions = fact(
  'extension',
  ['e.extname', 'n.nspname', comment('e.oid', 'pg_extension')],
  `pg_extension e join pg_namespace n on n.oid = e.extnamespace`,
)

function languages(scope: FactScope): string {
  return fact(
    'language',
    [
      'l.lanname',
      'l.lanpltrusted',
      'l.lanplcallfoid::regprocedure::text',
      'l.laninline::regprocedure::text',
      'l.lanvalidator::regprocedure::text',
      owner(scope, 'l.lanowner'),
      acl(scope, 'l.lanacl', 'l', 'l.lanowner'),
      comment('l.oid', 'pg_language'),
    ],
    `pg_language l where l.oid >= 16384 and ${notInExtension('pg_language', 'l.oid')}`,
  )
}

const accessMethods = fact(
  'access-method',
  ['a.amname', 'a.amtype', 'a.amhandler::text', comment('a.oid', 'pg_am')],
  `pg_am a where a.oid >= 16384 and ${notInExtension('pg_am', 'a.oid')}`,
)

function eventTriggers(scope: FactScope): string {
  return fact(
    'event-trigger',
    [
      't.evtname',
      't.evtevent',
      't.evtenabled',
      sorted('t.evttags'),
      't.evtfoid::regprocedure::text',
      owner(scope, 't.evtowner'),
      comment('t.oid', 'pg_event_trigger'),
    ],
    `pg_event_trigger t where ${notInExtension('pg_event_trigger', 't.oid')}`,
  )
}

function publications(scope: FactScope): string {
  return fact(
    'publication',
    [
      'p.pubname',
      'p.puballtables',
      'p.pubinsert',
      'p.pubupdate',
      'p.pubdelete',
      'p.pubtruncate',
      'p.pubviaroot',
      scope.version >= 180_000 ? 'p.pubgencols' : 'null',
      owner(scope, 'p.pubowner'),
      comment('p.oid', 'pg_publication'),
    ],
    'pg_publication p',
  )
}

const publicationSchemas = fact(
  'publication-schema',
  ['p.pubname', 'n.nspname'],
  `pg_publication_namespace s join pg_publication p on p.oid = s.pnpubid join ns n on n.oid = s.pnnspid`,
)

function wrappers(scope: FactScope): string {
  return fact(
    'foreign-data-wrapper',
    [
      'w.fdwname',
      'w.fdwhandler::regproc::text',
      'w.fdwvalidator::regproc::text',
      'md5(w.fdwoptions::text)',
      owner(scope, 'w.fdwowner'),
      acl(scope, 'w.fdwacl', 'F', 'w.fdwowner'),
      comment('w.oid', 'pg_foreign_data_wrapper'),
    ],
    `pg_foreign_data_wrapper w where ${notInExtension('pg_foreign_data_wrapper', 'w.oid')}`,
  )
}

function servers(scope: FactScope): string {
  return fact(
    'foreign-server',
    [
      's.srvname',
      's.srvtype',
      's.srvversion',
      'w.fdwname',
      'md5(s.srvoptions::text)',
      owner(scope, 's.srvowner'),
      acl(scope, 's.srvacl', 'S', 's.srvowner'),
      comment('s.oid', 'pg_foreign_server'),
    ],
    `pg_foreign_server s join pg_foreign_data_wrapper w on w.oid = s.srvfdw where ${notInExtension('pg_foreign_server', 's.oid')}`,
  )
}

const userMappings = fact('user-mapping', ['u.srvname', 'u.usename'], 'pg_user_mappings u')

const defaultPrivileges = fact(
  'default-privileges',
  ['pg_get_userbyid(d.defaclrole)', 'n.nspname', 'd.defaclobjtype', aclList('d.defaclacl')],
  `pg_default_acl d left join pg_namespace n on n.oid = d.defaclnamespace where n.oid is null or (${userSchemas})`,
)

const securityLabels = fact(
  'security-label',
  ['l.objtype', 'l.objname', 'l.provider', 'l.label'],
  `pg_seclabels l where l.objtype not in ('database', 'role', 'tablespace')`,
)

const transforms = fact(
  'transform',
  ['t.trftype::regtype::text', 'l.lanname', 't.trffromsql::text', 't.trftosql::text', comment('t.oid', 'pg_transform')],
  `pg_transform t join pg_language l on l.oid = t.trflang where ${notInExtension('pg_transform', 't.oid')}`,
)
