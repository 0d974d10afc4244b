import { acl, comment, fact, normal, notInExtension, owner, type FactScope } from './fingerprint-terms.ts'

/** Facts of types, functions, operators and other things that expressions are made of. */
export function programFacts(scope: FactScope): string[] {
  return [
    types(scope),
    enums,
    domains,
    ranges(scope),
    baseTypes,
    functions(scope),
    aggregates,
    operators(scope),
    operatorFamilies(scope),
    operatorClasses(scope),
    familyOperators,
    familyFunctions,
    casts,
    collations(scope),
    conversions(scope),
    searchDictionaries(scope),
    searchConfigurations(scope),
    searchMappings,
    searchParsers,
    searchTemplates,
  ]
}

/** Arrays and row types of tables belong to other types; multiranges are told by their range. */
const ownTypes = `pg_type t join ns n on n.oid = t.typnamespace
  where ${notInExtension('pg_type', 't.oid')}
    and not exists (select from pg_type e where e.typarray = t.oid)
    and (t.typrelid = 0 or exists (select from pg_class c where c.oid = t.typrelid and c.relkind = 'c'))`

function types(scope: FactScope): string {
  return fact(
    'type',
    [
      'n.nspname',
      't.typname',
      't.typtype',
      't.typisdefined',
      owner(scope, 't.typowner'),
      `case when t.typtype <> 'm' then ${acl(scope, 't.typacl', 'T', 't.typowner')} end`,
      comment('t.oid', 'pg_type'),
    ],
    ownTypes,
  )
}

const enums = fact(
  'enum',
  [
    'n.nspname',
    't.typname',
    `array(select e.enumlabel from pg_enum e where e.enumtypid = t.oid order by e.enumsortorder)`,
  ],
  `${ownTypes} and t.typtype = 'e'`,
)

const domains = fact(
  'domain',
  [
    'n.nspname',
    't.typname',
    'format_type(t.typbasetype, t.typtypmod)',
    't.typnotnull',
    normal('t.typdefault'),
    `case when t.typcollation <> 0 then t.typcollation::regcollation::text end`,
  ],
  `${ownTypes} and t.typtype = 'd'`,
)

function ranges({ version }: FactScope): string {
  return fact(
    'range',
    [
      'r.rngtypid::regtype::text',
      'r.rngsubtype::regtype::text',
      version >= 140_000 ? 'r.rngmultitypid::regtype::text' : 'null',
      `case when r.rngcollation <> 0 then r.rngcollation::regcollation::text end`,
      `(select o.opcname from pg_opclass o where o.oid = r.rngsubopc)`,
      'r.rngcanonical::text',
      'r.rngsubdiff::text',
    ],
    `pg_range r where r.rngtypid in (select t.oid from ${ownTypes})`,
  )
}

const baseTypes = fact(
  'base-type',
  [
    'n.nspname',
    't.typname',
    't.typlen',
    't.typbyval',
    't.typcategory',
    't.typispreferred',
    't.typdelim',
    't.typelem::regtype::text',
    't.typinput::text',
    't.typoutput::text',
    't.typreceive::text',
    't.typsend::text',
    't.typmodin::text',
    't.typmodout::text',
    't.typanalyze::text',
    't.typalign',
    't.typstorage',
    't.typdefault',
  ],
  `${ownTypes} and t.typtype = 'b'`,
)

/** Constructors of multiranges come with their type and go with it. */
const ownFunctions = `pg_proc p join ns n on n.oid = p.pronamespace
  where ${notInExtension('pg_proc', 'p.oid')}
    and not exists (select from pg_depend d where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'i')`

function functions(scope: FactScope): string {
  return fact(
    'function',
    [
      'n.nspname',
      'p.proname',
      'pg_get_function_identity_arguments(p.oid)',
      'p.prokind',
      `case when p.prokind <> 'a' then ${normal('pg_get_functiondef(p.oid)')} else pg_get_function_result(p.oid) end`,
      'p.proparallel',
      owner(scope, 'p.proowner'),
      acl(scope, 'p.proacl', 'f', 'p.proowner'),
      comment('p.oid', 'pg_proc'),
    ],
    ownFunctions,
  )
}

const aggregates = fact(
  'aggregate',
  [
    'a.aggfnoid::regprocedure::text',
    'a.aggkind',
    'a.aggnumdirectargs',
    ...['transfn', 'finalfn', 'combinefn', 'serialfn', 'deserialfn', 'mtransfn', 'minvtransfn', 'mfinalfn'].map(
      (name) => `a.agg${name}::oid::regprocedure::text`,
    ),
    'a.aggfinalextra',
    'a.aggmfinalextra',
    'a.aggfinalmodify',
    'a.aggmfinalmodify',
    'a.aggsortop::regoperator::text',
    'a.aggtranstype::regtype::text',
    'a.aggtransspace',
    'a.aggmtranstype::regtype::text',
    'a.aggmtransspace',
    'a.agginitval',
    'a.aggminitval',
  ],
  `pg_aggregate a where a.aggfnoid::oid in (select p.oid from ${ownFunctions})`,
)

/** An operator that another one only names as its commutator has no function yet. */
function operators(scope: FactScope): string {
  return fact(
    'operator',
    [
      'o.oid::regoperator::text',
      'o.oprcanmerge',
      'o.oprcanhash',
      'o.oprresult::regtype::text',
      'o.oprcom::regoperator::text',
      'o.oprnegate::regoperator::text',
      'o.oprcode::oid::regprocedure::text',
      'o.oprrest::text',
      'o.oprjoin::text',
      owner(scope, 'o.oprowner'),
      comment('o.oid', 'pg_operator'),
    ],
    `pg_operator o join ns n on n.oid = o.oprnamespace where o.oprcode <> 0 and ${notInExtension('pg_operator', 'o.oid')}`,
  )
}

function operatorFamilies(scope: FactScope): string {
  return fact(
    'operator-family',
    ['n.nspname', 'f.opfname', 'am.amname', owner(scope, 'f.opfowner'), comment('f.oid', 'pg_opfamily')],
    `pg_opfamily f join ns n on n.oid = f.opfnamespace join pg_am am on am.oid = f.opfmethod
     where ${notInExtension('pg_opfamily', 'f.oid')}`,
  )
}

function operatorClasses(scope: FactScope): string {
  return fact(
    'operator-class',
    [
      'n.nspname',
      'o.opcname',
      'am.amname',
      'f.opfname',
      'o.opcintype::regtype::text',
      'o.opcdefault',
      'o.opckeytype::regtype::text',
      owner(scope, 'o.opcowner'),
      comment('o.oid', 'pg_opclass'),
    ],
    `pg_opclass o join ns n on n.oid = o.opcnamespace join pg_am am on am.oid = o.opcmethod
     join pg_opfamily f on f.oid = o.opcfamily where ${notInExtension('pg_opclass', 'o.oid')}`,
  )
}

const ownFamily = `join pg_opfamily f on f.oid = m.family join ns n on n.oid = f.opfnamespace
  where ${notInExtension('pg_opfamily', 'f.oid')}`

const familyOperators = fact(
  'family-operator',
  ['n.nspname', 'f.opfname', 'm.strategy', 'm.purpose', 'm.operator::regoperator::text'],
  `(select amopfamily as family, amopstrategy as strategy, amoppurpose as purpose, amopopr as operator from pg_amop) m ${ownFamily}`,
)

const familyFunctions = fact(
  'family-function',
  [
    'n.nspname',
    'f.opfname',
    'm.number',
    'm.lefttype::regtype::text',
    'm.righttype::regtype::text',
    'm.proc::oid::regprocedure::text',
  ],
  `(select amprocfamily as family, amprocnum as number, amproclefttype as lefttype, amprocrighttype as righttype, amproc as proc
    from pg_amproc) m ${ownFamily}`,
)

/** 16384 is the first OID after initdb: casts lie in no schema. */
const casts = fact(
  'cast',
  [
    'k.castsource::regtype::text',
    'k.casttarget::regtype::text',
    'k.castfunc::regprocedure::text',
    'k.castcontext',
    'k.castmethod',
    comment('k.oid', 'pg_cast'),
  ],
  `pg_cast k where k.oid >= 16384 and ${notInExtension('pg_cast', 'k.oid')}
   and not exists (select from pg_depend d where d.classid = 'pg_cast'::regclass and d.objid = k.oid and d.deptype = 'i')`,
)

function collations(scope: FactScope): string {
  const locale = scope.version >= 170_000 ? 'k.colllocale' : scope.version >= 150_000 ? 'k.colliculocale' : 'null'
  return fact(
    'collation',
    [
      'n.nspname',
      'k.collname',
      'k.collprovider',
      'k.collisdeterministic',
      'k.collcollate',
      'k.collctype',
      locale,
      owner(scope, 'k.collowner'),
      comment('k.oid', 'pg_collation'),
    ],
    `pg_collation k join ns n on n.oid = k.collnamespace where ${notInExtension('pg_collation', 'k.oid')}`,
  )
}

function conversions(scope: FactScope): string {
  return fact(
    'conversion',
    [
      'n.nspname',
      'k.conname',
      'k.conforencoding',
      'k.contoencoding',
      'k.conproc::text',
      'k.condefault',
      owner(scope, 'k.conowner'),
      comment('k.oid', 'pg_conversion'),
    ],
    `pg_conversion k join ns n on n.oid = k.connamespace where ${notInExtension('pg_conversion', 'k.oid')}`,
  )
}

function searchDictionaries(scope: FactScope): string {
  return fact(
    'search-dictionary',
    [
      'n.nspname',
      'd.dictname',
      't.tmplname',
      'd.dictinitoption',
      owner(scope, 'd.dictowner'),
      comment('d.oid', 'pg_ts_dict'),
    ],
    `pg_ts_dict d join ns n on n.oid = d.dictnamespace join pg_ts_template t on t.oid = d.dicttemplate
     where ${notInExtension('pg_ts_dict', 'd.oid')}`,
  )
}

const ownConfigurations = `pg_ts_config c join ns n on n.oid = c.cfgnamespace join pg_ts_parser p on p.oid = c.cfgparser
  where ${notInExtension('pg_ts_config', 'c.oid')}`

function searchConfigurations(scope: FactScope): string {
  return fact(
    'search-configuration',
    ['n.nspname', 'c.cfgname', 'p.prsname', owner(scope, 'c.cfgowner'), comment('c.oid', 'pg_ts_config')],
    ownConfigurations,
  )
}

const searchMappings = fact(
  'search-mapping',
  ['o.nspname', 'o.cfgname', 'm.maptokentype', 'array_agg(m.mapdict::regdictionary::text order by m.mapseqno)'],
  `pg_ts_config_map m join (select c.oid, n.nspname, c.cfgname from ${ownConfigurations}) o on o.oid = m.mapcfg
   group by o.nspname, o.cfgname, m.maptokentype`,
)

const searchParsers = fact(
  'search-parser',
  [
    'n.nspname',
    'p.prsname',
    'p.prsstart::text',
    'p.prstoken::text',
    'p.prsend::text',
    'p.prsheadline::text',
    'p.prslextype::text',
  ],
  `pg_ts_parser p join ns n on n.oid = p.prsnamespace where ${notInExtension('pg_ts_parser', 'p.oid')}`,
)

const searchTemplates = fact(
  'search-template',
  ['n.nspname', 't.tmplname', 't.tmplinit::text', 't.tmpllexize::text'],
  `pg_ts_template t join ns n on n.oid = t.tmplnamespace where ${notInExtension('pg_ts_template', 't.oid')}`,
)
