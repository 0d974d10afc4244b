import { answerJson, JSON_TYPE, type Answer } from './answer.ts'
import type { State } from './state.ts'

export function answerDebug(state: State): Answer {
  return answerJson({ state: 1, version: state.version })
}

const STATS = `{
  "cache_hit_ratio": 0.0,
  "delete_latency_ms": 0,
  "delete_requests_per_second": 0,
  "import_latency_ms": 0,
  "import_requests_per_second": 0,
  "latency_ms": {},
  "overloaded_requests_per_second": 0,
  "pending_write_batches": 0,
  "requests_per_second": {},
  "search_latency_ms": 0,
  "search_requests_per_second": 0,
  "total_requests_per_second": 0.0,
  "write_latency_ms": 0,
  "write_requests_per_second": 0
}`

export function answerStats(): Answer {
  return { status: 200, contentType: JSON_TYPE, body: STATS }
}

export function answerMetrics({ capacity }: State): Answer {
  const active = String(process.memoryUsage.rss())
  const metrics = {
    system_cpu1_active_percentage: '0.00',
    system_cpu2_active_percentage: '0.00',
    system_cpu_active_percentage: '0.00',
    system_disk_total_bytes: String(capacity.diskTotalBytes),
    system_disk_used_bytes: String(capacity.diskUsedBytes),
    system_memory_total_bytes: String(capacity.memoryTotalBytes),
    system_memory_total_swap_bytes: '0',
    system_memory_used_bytes: String(capacity.memoryUsedBytes),
    system_memory_used_swap_bytes: '0',
    system_network_received_bytes: '0',
    system_network_sent_bytes: '0',
    typesense_memory_active_bytes: active,
    typesense_memory_allocated_bytes: active,
    typesense_memory_fragmentation_ratio: '0.05',
    typesense_memory_mapped_bytes: active,
    typesense_memory_metadata_bytes: '5840368',
    typesense_memory_resident_bytes: active,
    typesense_memory_retained_bytes: '14602240',
  }
  return { status: 200, contentType: JSON_TYPE, body: JSON.stringify(metrics, undefined, 2) }
}

export function answerSnapshot(): Answer {
  return answerJson({ success: true }, 201, 'application/json')
}

export function answerSchemaChanges(): Answer {
  return answerJson([])
}
