// All of it: `npm run soak` sets the budget.
import './replay.test.ts';
