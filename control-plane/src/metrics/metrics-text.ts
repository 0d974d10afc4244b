/** One metric: what it means, and its values with their labels. */
export interface Metric {
  /** Without the prefix: `jobs`, `last_success_timestamp_seconds`. */
  name: string
  help: string
  values: { labels?: Record<string, string>; value: number }[]
}

const PREFIX = 'multiboard_control_plane_'

/**
 * Prometheus' text format 0.0.4 (prometheus.io, Exposition formats). Gauges all: every value is read from the database when
 * somebody asks, and the next request may be answered by another process.
 */
export function metricsText(metrics: readonly Metric[]): string {
  return metrics
    .flatMap(({ name, help, values }) => [
      `# HELP ${PREFIX}${name} ${escapeHelp(help)}`,
      `# TYPE ${PREFIX}${name} gauge`,
      ...values.map(({ labels, value }) => `${PREFIX}${name}${labelsText(labels)} ${value}`),
    ])
    .map((line) => `${line}\n`)
    .join('')
}

function labelsText(labels: Record<string, string> = {}): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`)
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

function escapeHelp(text: string): string {
  return text.replaceAll('\\', String.raw`\\`).replaceAll('\n', String.raw`\n`)
}

function escapeLabel(text: string): string {
  return escapeHelp(text).replaceAll('"', String.raw`\"`)
}
