import type { mappingSchema } from '@multiboard-sync/shared/mapping'
import type { z } from 'zod'

/*
 * What every type of the table becomes, with its edge values. JSON is compared as text: JavaScript would round what must
 * not be rounded.
 */

type Field = Omit<z.input<typeof mappingSchema>['fields'][number], 'name'>

/** An SQL value, the field, and the JSON that it becomes; undefined where it is left out. */
type Case = [value: string, field: Field, json: string | undefined]

const int32: Field = { type: 'int32' }
const int64: Field = { type: 'int64' }
const float: Field = { type: 'float' }
const string: Field = { type: 'string' }
const asText: Field = { type: 'string', as: 'text' }
const seconds: Field = { type: 'int64', as: 'epoch_s' }
const millis: Field = { type: 'int64', as: 'epoch_ms' }
const iso: Field = { type: 'string', as: 'iso' }
const object: Field = { type: 'object' }
const objects: Field = { type: 'object[]' }

export const CASES: Case[] = [
  // Whole numbers.
  ['(-32768)::int2', int32, '-32768'],
  ['2147483647::int4', int32, '2147483647'],
  ['(-2147483648)::int4', int64, '-2147483648'],
  ['7::int4', float, '7'],
  ['7::int2', asText, '"7"'],
  ['9223372036854775807::int8', int64, '9223372036854775807'],
  ['(-9223372036854775808)::int8', int64, '-9223372036854775808'],
  ['9007199254740993::int8', int64, '9007199254740993'],
  ['9223372036854775807::int8', asText, '"9223372036854775807"'],
  ['9007199254740993::int8', { type: 'float', approximate: true }, '9.007199254740992e+15'],
  ['null::int8', int64, undefined],
  // Decimals.
  ['999999999::numeric(9,0)', int32, '999999999'],
  ['(-999999999999999999)::numeric(18,0)', int64, '-999999999999999999'],
  ['1.10::numeric(12,2)', float, '1.10'],
  ['(-0.000000000000001)::numeric(15,15)', float, '-0.000000000000001'],
  ['12345678901234567890.123456789::numeric', asText, '"12345678901234567890.123456789"'],
  ['12345678901234567890.123456789::numeric', { type: 'float', approximate: true }, '1.2345678901234567e+19'],
  ['0.1::numeric', { type: 'float', approximate: true }, '0.1'],
  ['2.50::public.positive', float, '2.50'],
  ['2.50::public.twice', float, '2.50'],
  // Floats: the shortest text that is the same number again.
  ['0.1::float8', float, '0.1'],
  ['0.1::float4', float, '0.1'],
  ['1e30::float8', float, '1e+30'],
  ['5e-324::float8', float, '5e-324'],
  ['16777217::float8', float, '16777217'],
  ["'-0'::float8", float, '-0'],
  ['0.30000000000000004::float8', float, '0.30000000000000004'],
  ["'NaN'::float8", asText, '"NaN"'],
  // Booleans.
  ['true', { type: 'bool' }, 'true'],
  ['false', { type: 'bool' }, 'false'],
  ['false', asText, '"false"'],
  ['null::bool', { type: 'bool' }, undefined],
  // Text.
  [`E'it''s "quoted" \\\\ back\\\\slash'`, string, '"it\'s \\"quoted\\" \\\\ back\\\\slash"'],
  [`E'a\\nb\\rc\\td\\be\\ff'`, string, '"a\\nb\\rc\\td\\be\\ff"'],
  [`E'\\x01\\x02\\x1f\\x7f'`, string, '"\\u0001\\u0002\\u001f\u007f"'],
  [`'naïve 🧩 漢字 \u2028'`, string, '"naïve 🧩 漢字 \u2028"'],
  [`''`, string, '""'],
  [`'null'::text`, string, '"null"'],
  [`'ab'::char(5)`, string, '"ab"'],
  [`'ab  '::varchar(10)`, string, '"ab  "'],
  [`'x'::"char"`, string, '"x"'],
  [`'name'::name`, string, '"name"'],
  [`'d'::public.label`, string, '"d"'],
  [`'text'::text`, asText, '"text"'],
  ['null::text', string, undefined],
  [`'A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid`, string, '"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"'],
  [`'dark "blue"'::public."Odd ""Color"""`, string, '"dark \\"blue\\""'],
  [`E'a\\nb'::public."Odd ""Color"""`, { type: 'string', facet: true }, '"a\\nb"'],
  [`''::public."Odd ""Color"""`, string, '""'],
  [`'192.168.1.5'::inet`, string, '"192.168.1.5"'],
  [`'192.168.0.0/24'::inet`, string, '"192.168.0.0/24"'],
  [`'10.0.0.0/8'::cidr`, string, '"10.0.0.0/8"'],
  [`'08:00:2b:01:02:03'::macaddr`, string, '"08:00:2b:01:02:03"'],
  [`'1 year 2 mons -3 days 04:05:06.7'::interval`, string, '"1 year 2 mons -3 days +04:05:06.7"'],
  [`'24:00'::time`, string, '"24:00:00"'],
  [`'01:02:03+02'::timetz`, string, '"01:02:03+02"'],
  [`B'0101'`, string, '"0101"'],
  [`'[1,5)'::int4range`, string, '"[1,5)"'],
  [`'[1.5,2]'::public.span`, string, '"[1.5,2]"'],
  [`'["2020-01-01 00:00+01",)'::tstzrange`, string, '"[\\"2019-12-31 23:00:00+00\\",)"'],
  [`'<a b="c">d</a>'::xml`, string, '"<a b=\\"c\\">d</a>"'],
  [`'(1,2)'::point`, asText, '"(1,2)"'],
  // Times.
  [`timestamptz '2020-01-02 03:04:05.999999+02'`, seconds, '1577927045'],
  [`timestamptz '2020-01-02 03:04:05.999999+02'`, millis, '1577927045999'],
  [`timestamptz '1970-01-01 00:00:00+00'`, seconds, '0'],
  [`timestamptz '1970-01-01 00:00:00+00'`, millis, '0'],
  [`timestamptz '1969-12-31 23:59:59.999999+00'`, seconds, '-1'],
  [`timestamptz '1969-12-31 23:59:59.999999+00'`, millis, '-1'],
  [`timestamptz '1969-12-31 23:59:59.0015+00'`, millis, '-999'],
  [`timestamptz '1969-12-31 23:59:58.5+00'`, millis, '-1500'],
  [`timestamptz '1900-01-01 00:00:00.000001+00'`, seconds, '-2208988800'],
  [`timestamptz '2099-12-31 23:59:59.999999+00'`, seconds, '4102444799'],
  [`timestamptz '2099-12-31 23:59:59.999999+00'`, millis, '4102444799999'],
  [`timestamptz '2100-01-01 00:00:00+00'`, millis, '4102444800000'],
  [`timestamptz '294276-12-31 23:59:59.999999+00'`, seconds, '9224318015999'],
  [`timestamptz '294276-12-31 23:59:59.999999+00'`, millis, '9224318015999999'],
  [`timestamptz '0044-03-15 12:00:00+00 BC'`, seconds, '-63517780800'],
  [`timestamptz '4713-01-01 00:00:00.5+00 BC'`, millis, '-210863519999500'],
  [`timestamp '2020-01-02 03:04:05.25'`, seconds, '1577934245'],
  [`timestamp '2020-01-02 03:04:05.25'`, millis, '1577934245250'],
  [`timestamp '1969-12-31 23:59:59.25'`, seconds, '-1'],
  [`date '2020-02-29'`, seconds, '1582934400'],
  [`date '2020-02-29'`, millis, '1582934400000'],
  [`date '1969-12-31'`, seconds, '-86400'],
  [`date '0044-03-15 BC'`, seconds, '-63517824000'],
  [`date '5874897-12-31'`, millis, '185331706992000000'],
  [`timestamptz '2020-01-02 03:04:05.25+02'`, iso, '"2020-01-02T01:04:05.25+00:00"'],
  [`timestamp '2020-01-02 03:04:05'`, iso, '"2020-01-02T03:04:05"'],
  [`date '0001-01-01'`, iso, '"0001-01-01"'],
  [`date '9999-12-31'`, iso, '"9999-12-31"'],
  ['null::timestamptz', seconds, undefined],
  ['null::timestamptz', millis, undefined],
  ['null::date', iso, undefined],
  // Arrays.
  ['array[]::int4[]', { type: 'int32[]' }, '[]'],
  ['array[1,-2]::int4[]', { type: 'int64[]' }, '[1,-2]'],
  ['array[9223372036854775807]::int8[]', { type: 'int64[]' }, '[9223372036854775807]'],
  ["'[5:6]={1,2}'::int4[]", { type: 'int32[]' }, '[1,2]'],
  ['null::int4[]', { type: 'int32[]' }, undefined],
  ['array[1.50,2]::numeric(5,2)[]', { type: 'float[]' }, '[1.50,2.00]'],
  ['array[1.5]::public.positive[]', { type: 'float[]' }, '[1.50]'],
  ['array[1.5]::public.twice[]', { type: 'float[]' }, '[1.50]'],
  [
    'array[1.5,12345678901234567890.5]::numeric[]',
    { type: 'string[]', as: 'text' },
    '["1.5","12345678901234567890.5"]',
  ],
  ['array[0.1]::numeric[]', { type: 'float[]', approximate: true }, '[0.1]'],
  ['array[0.1,1e30]::float8[]', { type: 'float[]' }, '[0.1,1e+30]'],
  ['array[true,false]', { type: 'bool[]' }, '[true,false]'],
  [`array[E'a"\\n','','null',',']`, { type: 'string[]' }, '["a\\"\\n","","null",","]'],
  [`array['a','b']::char(3)[]`, { type: 'string[]' }, '["a","b"]'],
  [`array['d']::public.label[]`, { type: 'string[]' }, '["d"]'],
  [`array['red','dark "blue"']::public."Odd ""Color"""[]`, { type: 'string[]' }, '["red","dark \\"blue\\""]'],
  [`array['1.2.3.4']::inet[]`, { type: 'string[]' }, '["1.2.3.4"]'],
  [
    `array['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11']::uuid[]`,
    { type: 'string[]' },
    '["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]',
  ],
  [
    `array['1969-12-31 23:59:59.5+00','2020-01-01 00:00+00']::timestamptz[]`,
    { type: 'int64[]', as: 'epoch_s' },
    '[-1,1577836800]',
  ],
  ['array[]::timestamptz[]', { type: 'int64[]', as: 'epoch_ms' }, '[]'],
  ['null::timestamptz[]', { type: 'int64[]', as: 'epoch_ms' }, undefined],
  [`array['1969-12-31']::date[]`, { type: 'int64[]', as: 'epoch_ms' }, '[-86400000]'],
  [`array['2020-01-01']::date[]`, { type: 'string[]', as: 'iso' }, '["2020-01-01"]'],
  // Objects.
  [
    `'{"b": {"c": [1, {"d": null}], "e": "x\\ny", "f": null}, "a": 12345678901234567890, "g": null}'::jsonb`,
    object,
    '{"a": 12345678901234567890, "b": {"c": [1, {}], "e": "x\\ny"}}',
  ],
  [`E'{\\n "b":1,\\n "a" : [ ],"b":2}'::json`, object, '{"a": [], "b": 2}'],
  [`'{}'::jsonb`, object, '{}'],
  [`'null'::jsonb`, object, undefined],
  ['null::jsonb', object, undefined],
  ['null::jsonb', objects, undefined],
  ['null::jsonb[]', objects, undefined],
  ['null::text[]', { type: 'string[]' }, undefined],
  ['null::public.address', object, undefined],
  [`'[{"a": 1}, {}]'::jsonb`, objects, '[{"a": 1}, {}]'],
  [`'[]'::jsonb`, objects, '[]'],
  [`array['{"a": 1}','{}']::jsonb[]`, objects, '[{"a": 1}, {}]'],
  [`array['{"a":1}']::json[]`, objects, '[{"a": 1}]'],
  [`'{"a": 1}'::jsonb`, asText, '"{\\"a\\": 1}"'],
  [
    `row('Köln', 7, '2020-01-01 00:00+01', 1.50)::public.address`,
    object,
    '{"zip": 7, "city": "Köln", "share": 1.50, "at \\"x\\"": "2019-12-31T23:00:00+00:00"}',
  ],
  [`array[row('a', null, null, null)::public.address]`, objects, '[{"city": "a"}]'],
]

/** An SQL value, the field, and the sentence about rows with it; undefined where they are fit. */
export const UNFIT: [value: string, field: Field, says: string | undefined][] = [
  ['null::int4', int32, 'have no value for c, which is not optional'],
  [`'null'::jsonb`, object, 'have no value for c, which is not optional'],
  [
    "'NaN'::float8",
    float,
    'have NaN, an infinity or a number beyond 3.4e38 in c, which the search index does not have',
  ],
  [
    "'-Infinity'::float4",
    float,
    'have NaN, an infinity or a number beyond 3.4e38 in c, which the search index does not have',
  ],
  ['1e39::float8', float, 'have NaN, an infinity or a number beyond 3.4e38 in c, which the search index does not have'],
  [
    "'NaN'::numeric(5,2)",
    float,
    'have NaN, an infinity or a number beyond 3.4e38 in c, which the search index does not have',
  ],
  ["'NaN'::numeric(5,0)", int32, 'have NaN in c, which JSON does not have'],
  [
    "array[1,'NaN']::float8[]",
    { type: 'float[]' },
    'have NaN, an infinity or a number beyond 3.4e38 in c, which the search index does not have',
  ],
  ["'infinity'::timestamptz", seconds, 'have an infinite time in c'],
  ["'-infinity'::date", millis, 'have an infinite time in c'],
  ["array['infinity']::timestamp[]", { type: 'int64[]', as: 'epoch_s' }, 'have an infinite time in c'],
  ["'infinity'::timestamp", iso, 'have a time before the year 1 or after 9999 in c, which ISO 8601 dates do not have'],
  ["'0001-01-01 BC'::date", iso, 'have a time before the year 1 or after 9999 in c, which ISO 8601 dates do not have'],
  ["'10000-01-01'::date", iso, 'have a time before the year 1 or after 9999 in c, which ISO 8601 dates do not have'],
  ['array[1,null]::int4[]', { type: 'int32[]' }, 'have a null among the elements of c'],
  ['array[null]::timestamptz[]', { type: 'int64[]', as: 'epoch_s' }, 'have a null among the elements of c'],
  ['array[[1],[2]]::int4[]', { type: 'int32[]' }, 'have an array of arrays in c'],
  [`'[1]'::jsonb`, object, 'have something else than an object in c'],
  [`'"x"'::json`, object, 'have something else than an object in c'],
  [`'{"a": 1}'::jsonb`, objects, 'have something else than an array of objects in c'],
  [`'[1]'::jsonb`, objects, 'have something else than an array of objects in c'],
  [`array['1']::jsonb[]`, objects, 'have something else than an array of objects in c'],
  [
    `'{"a": {"b": [1234567890123456.7891]}}'::jsonb`,
    object,
    'have a number in c that the search server would store rounded',
  ],
  [`'{"a": 1e400}'::jsonb`, object, 'have a number in c that the search server would store rounded'],
  [`'{"a": 1e-400}'::jsonb`, object, 'have a number in c that the search server would store rounded'],
  [`'{"a": 18446744073709551615, "b": 0.30000000000000004, "c": "1234567890123456.7891"}'::jsonb`, object, undefined],
  [`'{"a": 18446744073709551617}'::jsonb`, object, 'have a number in c that the search server would store rounded'],
  [`'{"a": 1234567890123456.7891}'::jsonb`, { type: 'object', approximate: true }, undefined],
  [
    `row('', 1, null, 1234567890123456.7891)::public.address`,
    object,
    'have a number in c that the search server would store rounded',
  ],
]

/** An SQL value, a field that it cannot become, and what the finding must hold. */
export const REFUSED: [value: string, field: Field, hint: string][] = [
  ['1::int8', int32, 'bigint cannot become int32 exactly. Write { type: int64 }'],
  ['1::int8', float, '{ type: float, approximate: true }'],
  ['1::int4', string, 'integer cannot become string exactly. Write { type: int32 }'],
  ['1::numeric(10,0)', int32, 'numeric(10,0) cannot become int32 exactly. Write { type: int64 }'],
  ['1::numeric(19,0)', int64, 'Write { type: float, approximate: true } or { type: string, as: text }'],
  [
    '1::numeric(16,2)',
    float,
    'numeric(16,2) cannot become float exactly. Write { type: float, approximate: true } or { type: string, as: text }',
  ],
  ['1::numeric', float, 'numeric cannot become float exactly'],
  ['1::numeric(5,2)', int32, 'Write { type: float }'],
  ['1.5::float8', int32, 'double precision cannot become int32 exactly. Write { type: float }'],
  ['now()', { type: 'int32', as: 'epoch_s' }, '{ type: int64, as: epoch_s }'],
  ['now()', int64, '{ type: int64, as: epoch_ms }'],
  ['now()', string, '{ type: string, as: iso }'],
  [`'a'::text`, { type: 'string[]' }, 'text cannot become string[] exactly. Write { type: string }'],
  ['array[1]', int32, 'integer[] cannot become int32 exactly. Write { type: int32[] }'],
  [`'{}'::jsonb`, string, '{ type: object } or { type: string, as: text } or { type: object[] }'],
  [`'[]'::jsonb`, { type: 'string[]' }, 'jsonb cannot become string[] exactly'],
  [`'x'::bytea`, string, 'bytea cannot be searched: write encode('],
  ['1::money', float, 'money cannot be searched: cast it to numeric(15,2)'],
  [`'a'::tsvector`, string, 'tsvector cannot be searched: map the text'],
  ['1::oid', int64, 'oid cannot be searched: cast it to bigint'],
  [`'pg_class'::regclass`, string, 'regclass cannot be searched'],
  [`row(1, 2)`, object, 'record cannot be searched: name the parts'],
  [`'(1,2)'::point`, string, 'point cannot become string exactly. Write { type: string, as: text }'],
]
