/*
 * A double in the digits that the search server writes: those of Grisu2 (Loitsch, Printing Floating-Point Numbers Quickly and
 * Accurately with Integers, 2010). They read back as the same double, but in about one of a thousand they are more than
 * needed, and of two that are as near it may take the other one than JavaScript and PostgreSQL do.
 */

/** The exponents between which a product with a power of ten is cut into digits. */
const ALPHA = -60
const GAMMA = -32
const SMALLEST_POWER = -300
const POWER_STEP = 8
const BITS = 64n

/** f * 2^e */
interface Binary {
  f: bigint
  e: number
}

/** Up to 15 digits before the point are written out, and zeroes to 0.0001; otherwise with an exponent of two digits or more. */
export function writeDouble(value: number): string {
  if (value === 0) return Object.is(value, -0) ? '-0.0' : '0.0'
  const sign = value < 0 ? '-' : ''
  const { digits, exponent: power } = digitsOf(Math.abs(value))
  const point = digits.length + power
  if (digits.length <= point && point <= 15) return `${sign}${digits.padEnd(point, '0')}.0`
  if (point > 0 && point <= 15) return `${sign}${digits.slice(0, point)}.${digits.slice(point)}`
  if (point > -4 && point <= 0) return `${sign}0.${'0'.repeat(-point)}${digits}`
  const exponent = String(Math.abs(point - 1)).padStart(2, '0')
  const head = digits.length === 1 ? digits : `${digits.slice(0, 1)}.${digits.slice(1)}`
  return `${sign}${head}e${point - 1 < 0 ? '-' : '+'}${exponent}`
}

/** digits * 10^exponent */
function digitsOf(value: number): { digits: string; exponent: number } {
  const { exact, upper, lower } = boundaries(value)
  const power = powerFor(upper.e)
  const exactScaled = multiply(exact, power.binary)
  const high = multiply(upper, power.binary)
  const low = multiply(lower, power.binary)
  return generate(low.f + 1n, exactScaled.f, high.f - 1n, high.e, -power.decimal)
}

const view = new DataView(new ArrayBuffer(8))

/** The double and the middles between it and its neighbours, with the same exponent, as large as 64 bits are. */
function boundaries(value: number): { exact: Binary; upper: Binary; lower: Binary } {
  view.setFloat64(0, value)
  const bits = view.getBigUint64(0)
  const fraction = bits & (2n ** 52n - 1n)
  const biased = Number(bits >> 52n)
  const isSubnormal = biased === 0
  const v = { f: isSubnormal ? fraction : fraction + 2n ** 52n, e: isSubnormal ? -1074 : biased - 1075 }
  const upper = normalize({ f: 2n * v.f + 1n, e: v.e - 1 })
  const isLowerCloser = fraction === 0n && biased > 1
  const below = isLowerCloser ? { f: 4n * v.f - 1n, e: v.e - 2 } : { f: 2n * v.f - 1n, e: v.e - 1 }
  return { exact: normalize(v), upper, lower: { f: below.f << BigInt(below.e - upper.e), e: upper.e } }
}

function normalize({ f, e }: Binary): Binary {
  const shift = 64 - f.toString(2).length
  return { f: f << BigInt(shift), e: e - shift }
}

function multiply(x: Binary, y: Binary): Binary {
  return { f: (x.f * y.f + (1n << (BITS - 1n))) >> BITS, e: x.e + y.e + 64 }
}

const powers = new Map<number, Binary>()

/** The power of ten in steps of eight that brings a number of this exponent between ALPHA and GAMMA. */
function powerFor(e: number): { binary: Binary; decimal: number } {
  const least = ALPHA - e - 1
  const k = Math.trunc((least * 78_913) / 2 ** 18) + (least > 0 ? 1 : 0)
  const index = Math.trunc((-SMALLEST_POWER + k + (POWER_STEP - 1)) / POWER_STEP)
  const decimal = SMALLEST_POWER + index * POWER_STEP
  const binary = powers.get(decimal) ?? powerOfTen(decimal)
  powers.set(decimal, binary)
  const sum = binary.e + e + 64
  if (sum < ALPHA || sum > GAMMA) throw new Error(`10^${decimal} does not fit 2^${e}.`)
  return { binary, decimal }
}

/** Rounded to the nearest of 64 bits. */
function powerOfTen(decimal: number): Binary {
  const ten = 10n ** BigInt(Math.abs(decimal))
  if (decimal >= 0) {
    const shift = ten.toString(2).length - 64
    return shift <= 0 ? { f: ten << BigInt(-shift), e: shift } : { f: roundShift(ten, shift), e: shift }
  }
  const bits = ten.toString(2).length + 64
  const quotient = (1n << BigInt(bits + 1)) / ten
  const shift = quotient.toString(2).length - 64
  return { f: roundShift(quotient, shift), e: shift - bits - 1 }
}

function roundShift(value: bigint, shift: number): bigint {
  return (value + (1n << BigInt(shift - 1))) >> BigInt(shift)
}

/** As few digits of `high` as lie above `low`, moved towards the exact value. */
function generate(low: bigint, exact: bigint, high: bigint, e: number, exponent: number) {
  let delta = high - low
  let distance = high - exact
  const shift = BigInt(-e)
  const one = 1n << shift
  let whole = high >> shift
  let rest = high & (one - 1n)
  const digits: number[] = []
  let left = whole.toString().length
  let ten = 10n ** BigInt(left - 1)
  while (left > 0) {
    digits.push(Number(whole / ten))
    whole %= ten
    left -= 1
    const remaining = (whole << shift) + rest
    if (remaining <= delta) {
      approach(digits, distance, delta, remaining, ten << shift)
      return { digits: digits.join(''), exponent: exponent + left }
    }
    ten /= 10n
  }
  for (let made = 1; ; made += 1) {
    rest *= 10n
    delta *= 10n
    distance *= 10n
    digits.push(Number(rest >> shift))
    rest &= one - 1n
    if (rest > delta) continue
    approach(digits, distance, delta, rest, one)
    return { digits: digits.join(''), exponent: exponent - made }
  }
}

function approach(digits: number[], distance: bigint, delta: bigint, rest: bigint, step: bigint): void {
  const last = digits.length - 1
  let now = rest
  while (now < distance && delta - now >= step && (now + step < distance || distance - now > now + step - distance)) {
    digits[last] = (digits[last] ?? 0) - 1
    now += step
  }
}
