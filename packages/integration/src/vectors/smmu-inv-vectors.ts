import { minPageSize } from '@iommukit/bits';
import {
  buildEntries,
  CommandStream,
  type DriverProfile,
  type Endpoint,
  INVALIDATION_TYPE,
  InvalidationArray,
  type InvalidationEntry,
  type InvalidationRules,
  type InvalidationUnit,
  type InvalidRange,
  invalidateArray,
  invalidateDomain,
  invalidateDomainRange,
  invalidateDomainTag,
  invalidateEndpoint,
  invalidateEndpoints,
  invalidateTag,
  invalidateTagRange,
  invalidateWholeArray,
  invalidationEntry,
} from '@iommukit/smmu-v3-driver';
import { IssueRecorder, issuesOf, namesOf, numberOf, streamIdsOf } from './smmu-recording.lanes.ts';
import type { VectorTally } from './vector-tally.ts';
import { type JsonRow, VectorError } from './vector-values.lanes.ts';

/** Smallest page of the arrays that a sequence builds. */
const SEQUENCE_PAGE = 4096;
/** Ends of gathers are inclusive and may be the last byte of the space. */
const SPACE_END = 2n ** 64n;

/** SMMUs whose commands are recorded. */
class Units {
  readonly recorder = new IssueRecorder();
  readonly #rows: JsonRow;
  readonly #rules: InvalidationRules;
  readonly #units = new Map<number, InvalidationUnit>();

  constructor(row: JsonRow, rules: InvalidationRules) {
    this.#rows = row;
    this.#rules = rules;
  }

  at(order: number): InvalidationUnit {
    const known = this.#units.get(order);
    if (known !== undefined) return known;
    const { features, options, repeat } = this.#rows;
    const has = namesOf(listOf(features, order));
    const stream = new CommandStream(this.recorder.issuer(order), {
      forceSync: namesOf(listOf(options, order))('CMDQ_FORCE_SYNC'),
      repeat: repeat === true,
    });
    const unit = { order, ranges: has('RANGE_INV'), e2h: has('E2H'), rules: this.#rules, stream };
    this.#units.set(order, unit);
    return unit;
  }
}

/** Names for one SMMU: a list for each of several, or one list. */
function listOf(lists: unknown, order: number): readonly string[] | undefined {
  if (!Array.isArray(lists)) return undefined;
  const named: unknown = lists.every((item) => typeof item === 'string') ? lists : lists[order];
  return Array.isArray(named) ? named : undefined;
}

/** Runs a file of kind `smmu-inv` as a kernel's driver. */
export function runSmmuInv(file: JsonRow, tally: VectorTally, profile: DriverProfile): void {
  let sequence = new Sequence({}, profile);
  for (const [i, row] of (file['cases'] as JsonRow[]).entries()) {
    tally.operations++;
    const check: Check = (what, got, expected) => tally.check(i, what, got, expected);
    const { op } = row;
    if (op === 'invs_new') sequence = new Sequence(row, profile);
    if (op === 'inv' && profile.invalidation === 'domain') checkDomain(row, profile, check);
    else if (op === 'inv') checkArray(row, profile, check);
    else if (op === 'build_invs') checkBuild(row, profile, check);
    else if (op === 'atc_master') checkEndpoint(row, profile, check);
    else sequence.step(row, check);
  }
}

type Check = (what: string, got: unknown, expected: unknown) => void;

function rangeOf(row: JsonRow): InvalidRange {
  return {
    iova: numberOf(row['iova']),
    size: numberOf(row['size']),
    granule: numberOf(row['granule']),
    leaf: row['leaf'] === true && row['call'] !== 'walk',
  };
}

/** The range of a gather, or null when nothing was gathered by page. */
function gatherOf(row: JsonRow): InvalidRange | null {
  const granule = numberOf(row['pgsize']);
  if (granule === 0) return null;
  const start = BigInt(row['start'] ?? 0);
  // As the kernel's unsigned subtraction: the whole space has size 0.
  const size = Number(BigInt.asUintN(64, BigInt(row['end'] ?? 0) + 1n - start + SPACE_END));
  return { iova: Number(start), size, granule, leaf: true };
}

function entryOf(units: Units, row: JsonRow, minPage: number): InvalidationEntry {
  const type = INVALIDATION_TYPE[row['type'] as keyof typeof INVALIDATION_TYPE];
  const { id = 0, ssid = 0, smmu = 0 } = row;
  return invalidationEntry(units.at(Number(smmu)), {
    type,
    id: Number(id),
    ssid: Number(ssid),
    minPage,
  });
}

function checkArray(row: JsonRow, rules: InvalidationRules, check: Check): void {
  const units = new Units(row, rules);
  const minPage = numberOf(row['page']);
  const entries = (row['invs'] as JsonRow[]).map((inv) => {
    const entry = entryOf(units, inv, minPage);
    entry.users = inv['trash'] === true ? 0 : 1;
    return entry;
  });
  const array = new InvalidationArray(entries);
  switch (row['call']) {
    case 'all':
      invalidateWholeArray(array);
      break;
    case 'tag': {
      const [first] = entries;
      if (first === undefined) throw new VectorError('invs', 'an entry', row['invs']);
      invalidateTag(first);
      break;
    }
    case 'sync': {
      const range = gatherOf(row);
      if (range !== null) invalidateArray(array, range);
      break;
    }
    default:
      invalidateArray(array, rangeOf(row));
  }
  check('issues', units.recorder.issues, issuesOf(row));
}

function checkEndpoint(row: JsonRow, rules: InvalidationRules, check: Check): void {
  const units = new Units(row, rules);
  invalidateEndpoint(units.at(0), streamIdsOf(row), Number(row['ssid'] ?? 0));
  check('issues', units.recorder.issues, issuesOf(row));
}

function checkBuild(row: JsonRow, rules: InvalidationRules, check: Check): void {
  const entries = buildEntries(new Units(row, rules).at(0), {
    stage: row['stage'] === 'S2' ? 2 : 1,
    id: Number(row['id'] ?? 0),
    minPage: minPageSize(numberOf(row['pgsize_bitmap'])),
    nestParent: row['nest_parent'] === true,
    streamIds: streamIdsOf(row),
    ats: row['ats'] === true,
    ssid: Number(row['ssid'] ?? 0),
  });
  const inv = entries.map(rowOf);
  check(
    'array',
    { num: inv.length, trash: 0, inv },
    {
      num: row['array'].num,
      trash: row['array'].trash,
      inv: row['array'].inv,
    },
  );
  check(
    'opcodes',
    entries.map(({ sized, unsized, pageLg2 }) => [sized, unsized, pageLg2]),
    row['opcodes'],
  );
}

function rowOf({ unit, type, id, ssid, users }: InvalidationEntry): number[] {
  return [unit.order, type, id, ssid, users];
}

/** A sequence of operations on one array. */
class Sequence {
  readonly #head: JsonRow;
  readonly #rules: InvalidationRules;
  #array = new InvalidationArray();

  constructor(head: JsonRow, rules: InvalidationRules) {
    this.#head = head;
    this.#rules = rules;
  }

  step(row: JsonRow, check: Check): void {
    const units = new Units(this.#head, this.#rules);
    const entries = ((row['entries'] ?? []) as JsonRow[]).map((entry) =>
      entryOf(units, entry, SEQUENCE_PAGE),
    );
    switch (row['op']) {
      case 'invs_merge':
        this.#array = this.#array.merge(entries);
        break;
      case 'invs_unref':
        this.#array.unref(entries);
        check(
          'to_unref_users',
          entries.map(({ users }) => users),
          row['to_unref_users'] ?? [],
        );
        break;
      case 'invs_purge': {
        const purged = this.#array.purge();
        check('purged', purged === null ? 0 : 1, Number(row['purged'] ?? 0));
        this.#array = purged ?? this.#array;
        break;
      }
      case 'invs_inv':
        // The array's own entries keep the streams of the step that added them: run them on this step's.
        invalidateArray(this.#onto(units), rangeOf(row));
        check('issues', units.recorder.issues, issuesOf(row));
        break;
      default:
    }
    if (row['array'] !== undefined)
      check('array', this.#state(), { ...row['array'], has_ats: row['array'].has_ats === true });
  }

  #onto(units: Units): InvalidationArray {
    const { entries, hasAts } = this.#array;
    return new InvalidationArray(
      entries.map((entry) => ({ ...entry, unit: units.at(entry.unit.order) })),
      { hasAts },
    );
  }

  #state(): unknown {
    const { entries, trash, hasAts } = this.#array;
    return { num: entries.length, trash, has_ats: hasAts, inv: entries.map(rowOf) };
  }
}

/** A domain of kernels before 7.x, and the devices attached to it. */
function checkDomain(row: JsonRow, rules: InvalidationRules, check: Check): void {
  const recorder = new IssueRecorder();
  const has = namesOf(row['features']);
  const unit = {
    stream: new CommandStream(recorder.issuer(0), {
      forceSync: namesOf(row['options'])('CMDQ_FORCE_SYNC'),
      repeat: row['repeat'] === true,
    }),
    ranges: has('RANGE_INV'),
    e2h: has('E2H'),
    ats: has('ATS'),
    rules,
  };
  const domain = {
    stage: row['stage'] === 'S2' ? 2 : 1,
    id: Number(row['asid'] ?? row['id'] ?? 0),
    minPage: minPageSize(numberOf(row['pgsize_bitmap'])),
  } as const;
  const endpoints: Endpoint[] = ((row['masters'] ?? []) as JsonRow[]).map((master) => ({
    streamIds: streamIdsOf(master),
    ssid: Number(master['ssid'] ?? 0),
    ats: master['ats'] === true,
  }));
  const range = rangeOf(row);
  switch (row['call']) {
    case 'all':
      invalidateDomain(unit, domain, endpoints);
      break;
    case 'sync': {
      const gathered = gatherOf(row);
      if (gathered !== null) invalidateDomainRange(unit, domain, gathered, endpoints);
      break;
    }
    case 'range_asid':
      invalidateTagRange(unit, domain, range);
      break;
    case 'asid':
      invalidateDomainTag(unit, domain);
      break;
    case 'atc':
      invalidateEndpoints(unit, [range], endpoints);
      break;
    case 'atc_master':
      invalidateEndpoint(unit, endpoints[0]?.streamIds ?? [], Number(row['ssid'] ?? 0));
      break;
    default:
      invalidateDomainRange(unit, domain, range, endpoints);
  }
  check('issues', recorder.issues, issuesOf(row));
}
