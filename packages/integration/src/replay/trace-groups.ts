import type { FtraceTrace, TraceEvent } from '@iommukit/captures';
import { SMMU_SUFFIX } from './event-plan.ts';

/** Events that belong before another one. */
interface Addition {
  /** Index of that other event. */
  readonly at: number;
  readonly events: readonly TraceEvent[];
}

/**
 * The trace with a group for each device that it uses and does not put into one: as if the device had been attached right before the first
 * map that is its own. `alsoUsed`: a device that the trace uses and may not name; empty: none.
 */
export function withGroups(trace: FtraceTrace, alsoUsed = ''): FtraceTrace {
  const known = new Set<string>();
  let nextGroup = 0;
  for (const event of trace.events)
    if (event.event === 'add_device_to_group') {
      known.add(event.device);
      nextGroup = Math.max(nextGroup, event.groupId + 1);
    }
  const additions: Addition[] = [];
  /** By context: the first map since its last dma event. */
  const firstMap = new Map<number, number>();
  trace.events.forEach((event, i) => {
    if (event.event === 'map' && !firstMap.has(event.context)) firstMap.set(event.context, i);
    if (!event.event.startsWith('dma_') || !('device' in event)) return;
    const at = firstMap.get(event.context);
    firstMap.delete(event.context);
    const { device } = event;
    // Without a map before it the event is of a device that no IOMMU translates for, or a SMMU's own.
    if (at === undefined || known.has(device) || device.endsWith(SMMU_SUFFIX)) return;
    known.add(device);
    const place = trace.events[at] ?? event;
    additions.push({ at, events: joining(place, device, nextGroup++) });
  });
  const [first] = trace.events;
  if (alsoUsed !== '' && first !== undefined && !known.has(alsoUsed))
    additions.push({ at: 0, events: joining(first, alsoUsed, nextGroup) });
  return additions.length === 0 ? trace : { ...trace, events: merged(trace.events, additions) };
}

/** A device gets its group and is attached, in the place of another event. */
function joining(place: TraceEvent, device: string, groupId: number): TraceEvent[] {
  const { line, tsUs, cpu, pid, context } = place;
  const header = { line, tsUs, cpu, pid, context, device };
  return [
    { ...header, event: 'add_device_to_group', groupId },
    { ...header, event: 'attach_device_to_domain' },
  ];
}

function merged(events: readonly TraceEvent[], additions: readonly Addition[]): TraceEvent[] {
  const before = new Map<number, TraceEvent[]>();
  for (const { at, events: added } of additions)
    before.set(at, [...(before.get(at) ?? []), ...added]);
  return events.flatMap((event, i) => {
    const added = before.get(i);
    return added === undefined ? [event] : [...added, event];
  });
}
