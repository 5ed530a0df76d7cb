// All of it: `npm run soak` sets the budget.
import './s4-unmap-rules.test.ts';
