import { isRecord, Refusal } from './answer.ts'

/** A field with all its defaults, as the server tells it. */
export interface Field {
  facet: boolean
  index: boolean
  infix: boolean
  locale: string
  name: string
  optional: boolean
  sort: boolean
  stem: boolean
  stem_dictionary: string
  store: boolean
  type: string
  range_index?: boolean
  reference?: string
  async_reference?: boolean
  num_dim?: number
  vec_dist?: string
}

const SCALARS = ['string', 'int32', 'int64', 'float', 'bool', 'geopoint', 'object', 'auto']
const TYPES = new Set([...SCALARS, ...SCALARS.map((type) => `${type}[]`), 'string*', 'geopolygon', 'image'])
const SORTED_BY_THEMSELVES = new Set(['int32', 'int64', 'float', 'bool', 'geopoint', 'geopoint[]'])
const SORTABLE = new Set(['string', 'int32[]', 'int64[]', 'float[]', 'bool[]', 'geopolygon'])

/** Fields of a schema or of a change. Throws the server's refusals. `id` is dropped without a word. */
export function readFields(value: unknown, nested: boolean): Field[] {
  if (!Array.isArray(value) || value.length === 0)
    throw new Refusal(
      400,
      'The `fields` value should be an array of objects containing `name`, `type` and optionally, `facet` properties.',
    )
  const fields = value.map((item) => readField(item, nested)).filter(({ name }) => name !== 'id')
  if (new Set(fields.map(({ name }) => name)).size < fields.length) {
    throw new Refusal(400, 'There are duplicate field names in the schema.')
  }
  return fields
}

function readField(value: unknown, nested: boolean): Field {
  if (!isRecord(value) || typeof value['name'] !== 'string' || typeof value['type'] !== 'string') {
    throw new Refusal(
      400,
      'Wrong format for `fields`. It should be an array of objects containing `name`, `type`, `optional` and `facet` properties.',
    )
  }
  const { name, type } = value as { name: string; type: string }
  if (!TYPES.has(type)) {
    throw new Refusal(400, `Field \`${name}\` has an invalid data type \`${type}\`, see docs for supported data types.`)
  }
  if ((type === 'object' || type === 'object[]') && !nested) {
    throw new Refusal(
      400,
      'Type `object` or `object[]` can be used only when nested fields are enabled by setting` enable_nested_fields` to true.',
    )
  }
  return fillField(value, name, type)
}

/** The defaults of the server, for what is left out. */
export function fillField(value: Record<string, unknown>, name: string, type: string): Field {
  const flag = (option: string, otherwise: boolean) => {
    const told = value[option]
    if (told === undefined) return otherwise
    if (typeof told !== 'boolean')
      throw new Refusal(400, `The \`${option}\` property of the field \`${name}\` should be a boolean.`)
    return told
  }
  const text = (option: string) => (typeof value[option] === 'string' ? value[option] : '')
  const index = flag('index', true)
  const facet = flag('facet', false)
  const optional = flag('optional', name.includes('*'))
  const sort = flag('sort', SORTED_BY_THEMSELVES.has(type) && value['num_dim'] === undefined)
  const locale = text('locale')
  const refuse = (problem: string) => new Refusal(400, problem.replace('%', `\`${name}\``))
  if (locale !== '' && locale.length !== 2 && locale !== 'de_en')
    throw refuse('The `locale` value of the field % is not valid.')
  if (type.startsWith('geopoint') && !sort) {
    throw refuse(
      `The \`sort\` property of the field % having \`${type}\` type cannot be \`false\`. The sort index is used during GeoSearch.`,
    )
  }
  if (!index && facet) throw refuse("Field % cannot be a facet since it's marked as non-indexable.")
  if (sort && !SORTED_BY_THEMSELVES.has(type) && !SORTABLE.has(type))
    throw refuse('Field % cannot be a sortable field.')
  const field: Field = {
    facet,
    index,
    infix: flag('infix', false),
    locale,
    name,
    optional,
    sort,
    stem: flag('stem', false),
    stem_dictionary: text('stem_dictionary'),
    store: flag('store', true),
    type,
  }
  if (value['range_index'] === true) field.range_index = true
  if (text('reference') !== '') {
    field.reference = text('reference')
    field.async_reference = flag('async_reference', false)
  }
  if (typeof value['num_dim'] === 'number') {
    field.num_dim = value['num_dim']
    field.vec_dist = text('vec_dist') || 'cosine'
  }
  return field
}

/** A change of the schema is answered with yet more defaults than a schema. */
export function tellChange(field: Field): Record<string, unknown> {
  return {
    async_reference: false,
    embed: null,
    hnsw_params: { M: 16, ef_construction: 200 },
    nested: false,
    nested_array: 0,
    num_dim: 0,
    range_index: false,
    reference: '',
    symbols_to_index: [],
    token_separators: [],
    vec_dist: 'cosine',
    ...field,
  }
}
