import { IommuError } from '@iommukit/bits';

/**
 * What broke a rule, as text: addresses in hexadecimal.
 * @example error.operands.expected // '0x1000'
 */
export interface ContractOperands {
  /** Name of the subject. */
  readonly subject: string;
  /** The rule, or the step of it, that was broken. */
  readonly rule: string;
  readonly expected: string;
  readonly got: string;
}

/**
 * A page table did not keep a rule of the contract; code `CONTRACT`. The operands say what was expected and what came.
 * @example try { oneCase.run(); } catch (e) { report((e as ContractError).operands); }
 */
export class ContractError extends IommuError<ContractOperands> {
  override readonly name = 'ContractError';
  constructor(operands: ContractOperands) {
    const { subject, rule, expected, got } = operands;
    super(
      'CONTRACT',
      operands,
      `${subject}: ${rule}: expected ${expected}, got ${got}`,
      'Correct the format, or the traits that it declares',
    );
  }
}
