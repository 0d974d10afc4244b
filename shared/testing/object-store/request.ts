import type { IncomingMessage } from 'node:http'
import { S3Fault } from './fault.ts'

// S3's limit for a key, in bytes of UTF-8.
const MAX_KEY_BYTES = 1024

/** One request, parsed as far as its address: path-style only (`/bucket/key`). */
export interface S3Request {
  message: IncomingMessage
  method: string
  /** Decoded path, `/bucket/key`. */
  path: string
  bucket: string | undefined
  key: string | undefined
  /** Decoded pairs in the order sent. */
  query: [name: string, value: string][]
  /** Sends `100 Continue` if the client waits for it; called when the body is first read. */
  welcomeBody(): void
}

export function parseRequest(message: IncomingMessage, welcomeBody: () => void): S3Request {
  const [rawPath, rawQuery = ''] = splitOnce(message.url ?? '/', '?')
  const path = decode(rawPath)
  const [bucket, key] = splitOnce(path.slice(1), '/')
  if (key !== undefined && Buffer.byteLength(key) > MAX_KEY_BYTES) throw new S3Fault('KeyTooLongError')
  const query = rawQuery
    .split('&')
    .filter(Boolean)
    .map((pair): [string, string] => {
      const [name, value = ''] = splitOnce(pair.replaceAll('+', '%20'), '=')
      return [decode(name), decode(value)]
    })
  return {
    message,
    method: message.method ?? 'GET',
    path,
    bucket: bucket || undefined,
    key: key || undefined,
    query,
    welcomeBody,
  }
}

export function queryOf(request: S3Request, name: string): string | undefined {
  return request.query.find((pair) => pair[0] === name)?.[1]
}

/** A header by its lower-case name; a presigned URL may carry `x-amz-…` headers as parameters instead. */
export function headerOf(request: S3Request, name: string): string | undefined {
  const value = request.message.headers[name]
  if (value !== undefined) return Array.isArray(value) ? value.join(',') : value
  if (!name.startsWith('x-amz-')) return undefined
  return request.query.find((pair) => pair[0].toLowerCase() === name)?.[1]
}

/** Names of the headers (and hoisted parameters) that begin with the prefix, lower case. */
export function headerNames(request: S3Request, prefix: string): string[] {
  const names = [...Object.keys(request.message.headers), ...request.query.map((pair) => pair[0].toLowerCase())]
  return [...new Set(names)].filter((name) => name.startsWith(prefix))
}

/** A whole number in a parameter, or the fallback when it is absent. */
export function integerOf(request: S3Request, name: string, fallback: number, max: number): number {
  const text = queryOf(request, name)
  if (text === undefined || text === '') return fallback
  if (!/^\d{1,10}$/.test(text)) throw new S3Fault('InvalidArgument', `${name} must be a whole number.`)
  return Math.min(Number(text), max)
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch (cause) {
    throw new S3Fault('InvalidURI', undefined, { cause })
  }
}

function splitOnce(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator)
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)]
}
