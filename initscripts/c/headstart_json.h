/*
 * Reads one text out of a JSON object, without memory of its own: enough for an initscript's input. Needs no import, so it
 * can be tested natively.
 */
#ifndef HEADSTART_JSON_H
#define HEADSTART_JSON_H

#include <stdint.h>

#define HS_JSON_FN static inline __attribute__((unused))
/* Arrays and objects in one another. */
#define HS_JSON_DEPTH 32

struct hs_json {
	const uint8_t *at;
	const uint8_t *end;
};

HS_JSON_FN void hs_json_space(struct hs_json *json)
{
	while (json->at < json->end &&
	       (*json->at == ' ' || *json->at == '\t' || *json->at == '\n' || *json->at == '\r'))
		json->at++;
}

/* Whether the next token is `byte`; then it is behind us. */
HS_JSON_FN int hs_json_take(struct hs_json *json, uint8_t byte)
{
	hs_json_space(json);
	if (json->at >= json->end || *json->at != byte)
		return 0;
	json->at++;
	return 1;
}

/* Four hexadecimal digits, or -1. */
HS_JSON_FN int32_t hs_json_hex(struct hs_json *json)
{
	int32_t value = 0;
	if (json->end - json->at < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		uint8_t digit = *json->at++;
		uint8_t lower = digit | 0x20;
		if (digit >= '0' && digit <= '9')
			value = value * 16 + (digit - '0');
		else if (lower >= 'a' && lower <= 'f')
			value = value * 16 + (lower - 'a' + 10);
		else
			return -1;
	}
	return value;
}

/* What an escape stands for (the backslash is behind us), or -1. A half of a surrogate pair alone is an error. */
HS_JSON_FN int32_t hs_json_escape(struct hs_json *json)
{
	if (json->at >= json->end)
		return -1;
	switch (*json->at++) {
	case '"': return '"';
	case '\\': return '\\';
	case '/': return '/';
	case 'b': return '\b';
	case 'f': return '\f';
	case 'n': return '\n';
	case 'r': return '\r';
	case 't': return '\t';
	case 'u': break;
	default: return -1;
	}
	int32_t high = hs_json_hex(json);
	if (high < 0xd800 || high > 0xdfff)
		return high;
	if (high > 0xdbff || json->end - json->at < 2 || json->at[0] != '\\' || json->at[1] != 'u')
		return -1;
	json->at += 2;
	int32_t low = hs_json_hex(json);
	if (low < 0xdc00 || low > 0xdfff)
		return -1;
	return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

/* One character as UTF-8; the number of its bytes. */
HS_JSON_FN uint32_t hs_json_utf8(uint32_t character, uint8_t bytes[4])
{
	if (character < 0x80) {
		bytes[0] = (uint8_t)character;
		return 1;
	}
	uint32_t count = character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;
	for (uint32_t i = count - 1; i > 0; i--) {
		bytes[i] = 0x80 | (character & 0x3f);
		character >>= 6;
	}
	bytes[0] = (uint8_t)((0xf00 >> count) | character);
	return count;
}

/*
 * Reads a text. At most `capacity` bytes of it are written to `out`. Its whole length in bytes of UTF-8, or -1 when it is no
 * text.
 */
HS_JSON_FN int32_t hs_json_string(struct hs_json *json, char *out, uint32_t capacity)
{
	uint32_t length = 0;
	if (!hs_json_take(json, '"'))
		return -1;
	while (json->at < json->end) {
		uint8_t bytes[4];
		uint32_t count = 1;
		bytes[0] = *json->at++;
		if (bytes[0] == '"')
			return length > 0x7fffffff ? -1 : (int32_t)length;
		if (bytes[0] < 0x20)
			return -1;
		if (bytes[0] == '\\') {
			int32_t character = hs_json_escape(json);
			if (character < 0)
				return -1;
			count = hs_json_utf8((uint32_t)character, bytes);
		}
		for (uint32_t i = 0; i < count; i++, length++)
			if (length < capacity)
				out[length] = (char)bytes[i];
	}
	return -1;
}

/* Whether a number or one of the three words begins here; then it is behind us. */
HS_JSON_FN int hs_json_word(struct hs_json *json)
{
	const uint8_t *start = json->at;
	while (json->at < json->end) {
		uint8_t byte = *json->at;
		uint8_t lower = byte | 0x20;
		if (!(lower >= 'a' && lower <= 'z') && !(byte >= '0' && byte <= '9') && byte != '-' && byte != '+' && byte != '.')
			break;
		json->at++;
	}
	return json->at > start;
}

/* Whether a value begins here; then it is behind us. */
HS_JSON_FN int hs_json_skip(struct hs_json *json, int depth)
{
	hs_json_space(json);
	if (json->at >= json->end || depth > HS_JSON_DEPTH)
		return 0;
	if (*json->at == '"')
		return hs_json_string(json, 0, 0) >= 0;
	int object = *json->at == '{';
	if (!object && *json->at != '[')
		return hs_json_word(json);
	uint8_t close = object ? '}' : ']';
	json->at++;
	if (hs_json_take(json, close))
		return 1;
	do {
		if (object && (hs_json_string(json, 0, 0) < 0 || !hs_json_take(json, ':')))
			return 0;
		if (!hs_json_skip(json, depth + 1))
			return 0;
	} while (hs_json_take(json, ','));
	return hs_json_take(json, close);
}

HS_JSON_FN int hs_json_equal(const char *a, const char *b, uint32_t length)
{
	for (uint32_t i = 0; i < length; i++)
		if (a[i] != b[i])
			return 0;
	return b[length] == 0;
}

/*
 * Goes to the value under `key` in the JSON object that begins here. Whether there is one; if not, `json` is somewhere in the
 * object.
 */
HS_JSON_FN int hs_json_find(struct hs_json *json, const char *key)
{
	if (!hs_json_take(json, '{'))
		return 0;
	do {
		char name[64];
		int32_t name_length = hs_json_string(json, name, sizeof name);
		if (name_length < 0 || !hs_json_take(json, ':'))
			return 0;
		if (name_length < (int32_t)sizeof name && hs_json_equal(name, key, (uint32_t)name_length))
			return 1;
		if (!hs_json_skip(json, 0))
			return 0;
	} while (hs_json_take(json, ','));
	return 0;
}

/* The whole number under `key` in a JSON object, or 0. */
HS_JSON_FN uint32_t hs_json_number(const char *text, uint32_t text_length, const char *key)
{
	struct hs_json json = { (const uint8_t *)text, (const uint8_t *)text + text_length };
	uint32_t number = 0;
	if (!hs_json_find(&json, key))
		return 0;
	hs_json_space(&json);
	while (json.at < json.end && *json.at >= '0' && *json.at <= '9')
		number = number * 10 + (uint32_t)(*json.at++ - '0');
	return number;
}

/*
 * The text under `key` in a JSON object, closed by a 0. Its length, or -1 when the object has none, is malformed up to there,
 * or when the text does not fit or has a 0 in it.
 *
 *	hs_json_text("{\"key\":\"a.png\"}", 15, "key", out, sizeof out) == 5
 */
HS_JSON_FN int32_t hs_json_text(const char *text, uint32_t text_length, const char *key, char *out, uint32_t capacity)
{
	struct hs_json json = { (const uint8_t *)text, (const uint8_t *)text + text_length };
	if (capacity == 0 || !hs_json_find(&json, key))
		return -1;
	int32_t length = hs_json_string(&json, out, capacity - 1);
	if (length < 0 || (uint32_t)length >= capacity)
		return -1;
	for (int32_t i = 0; i < length; i++)
		if (out[i] == 0)
			return -1;
	out[length] = 0;
	return length;
}

#endif
