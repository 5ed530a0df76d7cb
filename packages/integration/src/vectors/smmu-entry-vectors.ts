import {
  abortSte,
  bypassSte,
  type CdTable,
  CommandStream,
  cdTableDescriptor,
  cdTableSte,
  cdUsedBits,
  type DriverProfile,
  guestEntry,
  installCd,
  installSte,
  nestedSte,
  readEntry,
  type StageTwoConfig,
  type SteDevice,
  type SteFeatures,
  sharedCd,
  stageOneCd,
  stageTwoSte,
  steHasAts,
  steUpdateSafe,
  steUsedBits,
  steUsedBitsMerged,
  streamTableDescriptor,
  writeEntry,
} from '@iommukit/smmu-v3-driver';
import {
  entryOf,
  fieldOf,
  IssueRecorder,
  issuesOf,
  kernelAddress,
  lanesOf,
  namesOf,
  SCRATCH,
  scratchPage,
  storeLanes,
  streamIdsOf,
  wordsOf,
} from './smmu-recording.lanes.ts';
import type { VectorTally } from './vector-tally.ts';
import { hexOfLanes, type JsonRow, VectorError } from './vector-values.lanes.ts';

type UsedBits = typeof steUsedBits;

/** Runs a file of kind `smmu-entry` as a kernel's driver. */
export function runSmmuEntry(file: JsonRow, tally: VectorTally, profile: DriverProfile): void {
  for (const [i, row] of (file['cases'] as JsonRow[]).entries()) {
    tally.operations++;
    const check = (what: string, got: unknown, expected: unknown): void =>
      tally.check(i, what, got, expected);
    switch (row['op']) {
      case 'ste':
        checkSte(row, profile, check);
        break;
      case 'cd':
        checkBuilt(row, cdOf(row), cdUsedBits, check);
        break;
      case 'used':
        check('used', usedOf(usedBitsOf(row, profile), entryOf(row['data'])), row['used']);
        break;
      case 'l1desc':
        checkLevelOne(row, check);
        break;
      default: {
        const kinds = file[`${row['entry']}_kinds`] as Readonly<Record<string, string[]>>;
        const at = (name: 'from' | 'to'): Uint32Array => {
          const words = kinds?.[row[name]];
          if (words === undefined)
            throw new VectorError(name, `a name of ${row['entry']}_kinds`, row[name]);
          return entryOf(words);
        };
        const change = { from: at('from'), to: at('to') };
        if (row['op'] === 'write') checkWrite(row, profile, change, check);
        else checkInstall(row, profile, change, check);
      }
    }
  }
}

type Check = (what: string, got: unknown, expected: unknown) => void;
interface Change {
  readonly from: Uint32Array;
  readonly to: Uint32Array;
}

function usedBitsOf(row: JsonRow, profile: DriverProfile): UsedBits {
  if (row['entry'] === 'cd') return cdUsedBits;
  return profile.steFields === 'base' ? steUsedBits : steUsedBitsMerged;
}

function usedOf(of: UsedBits, entry: Uint32Array): string[] {
  const used = new Uint32Array(entry.length);
  of(entry, used);
  return wordsOf(used);
}

function checkBuilt(row: JsonRow, entry: Uint32Array, of: UsedBits, check: Check): void {
  check('data', wordsOf(entry), row['data']);
  check('used', usedOf(of, entry), row['used']);
}

function checkLevelOne(row: JsonRow, check: Check): void {
  const text = ([lo = 0, hi = 0]: Iterable<number> & ArrayLike<number>): string =>
    hexOfLanes(lo, hi);
  check('ste_l1', text(streamTableDescriptor(kernelAddress(row['l2ptr'], 6))), row['ste_l1']);
  check('cd_l1', text(cdTableDescriptor(kernelAddress(row['l2ptr'], 12))), row['cd_l1']);
}

function featuresOf(row: JsonRow): { readonly smmu: SteFeatures; readonly device: SteDevice } {
  const has = namesOf(row['features']);
  return {
    smmu: {
      stalls: has('STALLS'),
      attrTypesOverride: has('ATTR_TYPES_OVR'),
      e2h: has('E2H'),
    },
    device: { ats: isSet(row['ats']), stall: isSet(row['stall']) },
  };
}

function isSet(value: unknown): boolean {
  return value === true || value === 1;
}

function checkSte(row: JsonRow, profile: DriverProfile, check: Check): void {
  const { smmu, device } = featuresOf(row);
  const of = profile.steFields === 'base' ? steUsedBits : steUsedBitsMerged;
  const built = (entry: Uint32Array): void => checkBuilt(row, entry, of, check);
  switch (row['builder']) {
    case 'abort':
      built(abortSte(profile));
      return;
    case 'bypass':
      built(bypassSte(smmu, profile));
      return;
    case 'cdtable':
      built(cdTableSte(cdTableOf(row), smmu, device));
      return;
    case 's2':
      built(stageTwoSte(stageTwoOf(row), smmu, device));
      return;
    default: {
      const guest = guestEntry([lanesOf(row['vste0']), lanesOf(row['vste1'])]);
      check('errno', typeof guest === 'number' ? guest : 0, row['errno'] ?? 0);
      if (typeof guest === 'number') return;
      check('enable_ats', guest.wantsAts ? 1 : 0, Number(row['enable_ats'] ?? 0));
      built(nestedSte(guest, stageTwoOf(row), smmu, device));
    }
  }
}

function cdTableOf(row: JsonRow): CdTable {
  return {
    base: kernelAddress(row['cdtab_dma'], 6),
    format: fieldOf(row['s1fmt'], 2) as CdTable['format'],
    cdMax: fieldOf(row['s1cdmax'], 5),
    s1dss: fieldOf(row['s1dss'], 2) as CdTable['s1dss'],
  };
}

function stageTwoOf(row: JsonRow): StageTwoConfig {
  const { ps, tg, sh, orgn, irgn, sl, tsz } = row['vtcr'];
  return {
    vmid: row['vmid'],
    vttbr: kernelAddress(row['vttbr'], 4),
    vtcr: { ps, tg, sh, orgn, irgn, sl, tsz },
    forcedWriteBack: namesOf(row['quirks'])('ARM_S2FWB'),
  };
}

function cdOf(row: JsonRow): Uint32Array {
  const has = namesOf(row['features']);
  const mair = lanesOf(row['mair']);
  const stall = isSet(row['stall']);
  if (row['builder'] === 's1') {
    const { ips, tg, sh, orgn, irgn, tsz } = row['tcr'];
    const ttbr = kernelAddress(row['ttbr'], 4);
    const dirty = namesOf(row['quirks'])('ARM_HD');
    const tables = { ips, tg, sh, orgn, irgn, tsz, ttbr, mair };
    return stageOneCd(tables, row['asid'], { stall, dirty });
  }
  return sharedCd(
    {
      pgd: kernelAddress(row['pgd'], 4),
      vaBits: row['va_bits'],
      pageSize: 2 ** row['page_shift'],
      ips: fieldOf(row['parange'], 3),
      mair,
      haft: isSet(row['haft']),
    },
    row['asid'],
    {
      features: {
        accessFlag: has('HA'),
        dirty: has('HD'),
        haft: has('HAFT'),
        stall,
        stallForce: has('STALL_FORCE'),
      },
      released: row['no_mm'] === true,
    },
  );
}

function checkWrite(row: JsonRow, profile: DriverProfile, change: Change, check: Check): void {
  const { from, to } = change;
  const memory = scratchPage();
  storeLanes(memory, SCRATCH, from);
  const states: Uint32Array[] = [];
  const isSte = row['entry'] === 'ste';
  const safely = isSte && profile.updateSafe === 'eats-mev';
  const n = writeEntry(
    {
      memory,
      pa: SCRATCH,
      usedBits: usedBitsOf(row, profile),
      ...(safely ? { updateSafe: steUpdateSafe } : {}),
      sync: () => void states.push(readEntry(memory, SCRATCH)),
    },
    to,
  );
  check('n', n, row['n']);
  check('syncs', states.map(wordsOf), row['syncs'] ?? []);
  check('the entry afterwards', wordsOf(readEntry(memory, SCRATCH)), wordsOf(to));
  const valid = (entry: Uint32Array): boolean =>
    (isSte ? (entry[0] as number) : Math.floor((entry[0] as number) / 2 ** 31)) % 2 === 1;
  const broken = valid(from) && valid(to) && !states.every(valid);
  check('v0', broken ? 1 : 0, Number(row['v0'] ?? 0));
  if (row['safe'] === undefined) return;
  const safe = new Uint32Array(to.length);
  steUpdateSafe(from, to, safe);
  check('safe', wordsOf(safe), row['safe']);
}

function checkInstall(row: JsonRow, profile: DriverProfile, change: Change, check: Check): void {
  const { from, to } = change;
  const recorder = new IssueRecorder();
  const has = namesOf(row['options']);
  const stream = new CommandStream(recorder.issuer(0), {
    forceSync: has('CMDQ_FORCE_SYNC'),
    repeat: row['repeat'] === true,
  });
  const memory = scratchPage();
  const site = { memory, stream, profile, skipPrefetch: has('SKIP_PREFETCH') };
  const ids = streamIdsOf(row);
  if (row['entry'] === 'ste') {
    // Each stream has its own entry; one place is enough, refilled when a stream's turn comes.
    installSte(
      site,
      ids,
      () => {
        storeLanes(memory, SCRATCH, from);
        return SCRATCH;
      },
      to,
    );
    check('ste_ats', steHasAts(to) ? 1 : 0, Number(row['ste_ats'] ?? 0));
  } else {
    storeLanes(memory, SCRATCH, from);
    const ssid = Number(row['ssid'] ?? 0);
    const used = Number(row['used_ssids_before'] ?? 0);
    const change = installCd(site, ids, { pa: SCRATCH, ssid }, to);
    check('used_ssids', used + change, Number(row['used_ssids'] ?? 0));
  }
  check('issues', recorder.issues, issuesOf(row));
  check('the entry afterwards', wordsOf(readEntry(memory, SCRATCH)), wordsOf(to));
}
