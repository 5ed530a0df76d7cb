/**
 * How often steps recorded a deviation, and how often our outcome was QEMU's all the same: then one of the two readings is wrong.
 * @example const shared = ({ equal }: DeviationCount) => equal > 0;
 */
export interface DeviationCount {
  count: number;
  equal: number;
}

/**
 * A step of a program, steps counted from 0.
 * @example const place: ProgramPlace = { program: 's1-reg-16', category: 'reg', step: 4 };
 */
export interface ProgramPlace {
  readonly program: string;
  readonly category: string;
  readonly step: number;
}

/**
 * A difference from what a program records.
 * @example const line = ({ program, what }: ProgramMismatch) => `${program}: ${what}`;
 */
export interface ProgramMismatch extends ProgramPlace {
  readonly what: string;
  readonly expected: unknown;
  readonly got: unknown;
}

/**
 * What a file of programs run on QEMU's SMMUv3 compared, beyond the sums of every report.
 * @example const refused = (f: ProgramFindings) => Object.keys(f.unmodelled);
 */
export interface ProgramFindings {
  readonly preset: string;
  programs: number;
  accesses: number;
  commands: number;
  /**
   * Register reads. `partly`: of those compared, how many differ in bits alone that a rule excepts: `after-deviation` (GERROR and the overflow
   * flag after q1), `res0` (reserved bits read as zero or as written), `item-11` (reserved bits of the acknowledgements). `excepted`: not compared.
   */
  readonly reads: {
    compared: number;
    readonly partly: Record<string, number>;
    readonly excepted: Record<string, number>;
  };
  /** Steps by code of the deviation that they record; a step with several counts for each. */
  readonly deviations: Record<string, DeviationCount>;
  /** Steps whose recorded deviation we share. */
  readonly equalAllTheSame: (ProgramPlace & { readonly codes: string })[];
  /** Accesses that QEMU answered from a cached copy. */
  readonly stale: {
    recorded: number;
    /** QEMU's outcome is that of memory as it is: the run without caches. */
    fromMemory: number;
    /** It is that of the copy that the run which keeps everything used and reported. */
    fromCopy: number;
    /** It is that of a copy made later, after QEMU had dropped the first: a run that drops when QEMU did uses and reports it. */
    refilled: number;
    /** Stale and deviating, and none of these. */
    deviating: number;
  };
  /** Stale accesses that come from a deviation that the file does not flag there, by its code: n26. */
  readonly unflagged: Record<string, ProgramPlace[]>;
  /** The run that keeps everything: accesses equal to the first run, and those that differ and were reported as stale uses. */
  readonly kept: { equal: number; reported: number };
  /** Programs that the model refused, by code; each is a mismatch too. */
  readonly unmodelled: Record<string, number>;
  /** Mismatches by category and what differs, and the first ones. */
  readonly mismatchesBy: Record<string, number>;
  readonly mismatches: ProgramMismatch[];
}

/** Findings before the first program. */
export function emptyFindings(preset: string): ProgramFindings {
  return {
    preset,
    programs: 0,
    accesses: 0,
    commands: 0,
    reads: { compared: 0, partly: {}, excepted: {} },
    deviations: {},
    equalAllTheSame: [],
    stale: { recorded: 0, fromMemory: 0, fromCopy: 0, refilled: 0, deviating: 0 },
    unflagged: {},
    kept: { equal: 0, reported: 0 },
    unmodelled: {},
    mismatchesBy: {},
    mismatches: [],
  };
}
