exports.CustomError = class extends Error {};
