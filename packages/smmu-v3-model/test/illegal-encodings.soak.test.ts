// All of it: `npm run soak` sets the budget.
import './illegal-encodings.test.ts';
