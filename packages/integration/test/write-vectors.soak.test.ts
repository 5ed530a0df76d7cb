// All of it: `npm run soak` sets the budget.
import './write-vectors.test.ts';
