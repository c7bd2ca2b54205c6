/* Formatting; see printf.h. A walk over the format with one output position that also counts what did not
 * fit. */
#include "kernel/base/printf.h"
#include "kernel/base/string.h"

struct out {
    char *buf;
    size_t size, len;
};

struct spec {
    bool left, zero, plus, space, alt, upper;
    int width, precision; /* precision -1: none given */
    int length;           /* bytes of the integer argument */
};

static void put(struct out *o, char c)
{
    if (o->len + 1 < o->size)
        o->buf[o->len] = c;
    o->len++;
}

static void pad(struct out *o, char c, int n)
{
    while (n-- > 0)
        put(o, c);
}

static void put_text(struct out *o, const struct spec *s, const char *text, int len)
{
    if (!s->left)
        pad(o, ' ', s->width - len);
    for (int i = 0; i < len; i++)
        put(o, text[i]);
    if (s->left)
        pad(o, ' ', s->width - len);
}

static int digits_of(char *end, u64 value, u32 base, bool upper)
{
    const char *set = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    int n = 0;
    do {
        *--end = set[value % base];
        value /= base;
        n++;
    } while (value);
    return n;
}

static void put_number(struct out *o, const struct spec *s, u64 value, u32 base, const char *prefix)
{
    char digits[24];
    int n = value || s->precision ? digits_of(digits + sizeof(digits), value, base, s->upper) : 0;
    int prefix_len = strlen(prefix);
    int zeros = s->precision > n ? s->precision - n : 0;
    if (s->zero && !s->left && s->precision < 0 && s->width > n + prefix_len)
        zeros = s->width - n - prefix_len;
    int blanks = s->width - n - prefix_len - zeros;
    if (!s->left)
        pad(o, ' ', blanks);
    while (*prefix)
        put(o, *prefix++);
    pad(o, '0', zeros);
    for (int i = 0; i < n; i++)
        put(o, digits[sizeof(digits) - n + i]);
    if (s->left)
        pad(o, ' ', blanks);
}

static const char *parse_flags(const char *f, struct spec *s)
{
    for (;; f++) {
        switch (*f) {
        case '-':
            s->left = true;
            break;
        case '0':
            s->zero = true;
            break;
        case '+':
            s->plus = true;
            break;
        case ' ':
            s->space = true;
            break;
        case '#':
            s->alt = true;
            break;
        default:
            return f;
        }
    }
}

static const char *parse_count(const char *f, int *out, va_list *ap)
{
    if (*f == '*') {
        *out = va_arg(*ap, int);
        return f + 1;
    }
    *out = 0;
    while (*f >= '0' && *f <= '9')
        *out = *out * 10 + (*f++ - '0');
    return f;
}

static const char *parse_length(const char *f, struct spec *s)
{
    s->length = sizeof(int);
    if (*f == 'h') {
        s->length = f[1] == 'h' ? 1 : 2;
        return f + (f[1] == 'h' ? 2 : 1);
    }
    if (*f == 'l') {
        s->length = 8;
        return f + (f[1] == 'l' ? 2 : 1);
    }
    if (*f == 'z' || *f == 't' || *f == 'j') {
        s->length = 8;
        return f + 1;
    }
    return f;
}

static const char *parse_spec(const char *f, struct spec *s, va_list *ap)
{
    *s = (struct spec){.precision = -1};
    f = parse_flags(f, s);
    f = parse_count(f, &s->width, ap);
    if (s->width < 0) {
        s->left = true;
        s->width = -s->width;
    }
    if (*f == '.')
        f = parse_count(f + 1, &s->precision, ap);
    return parse_length(f, s);
}

static void put_signed(struct out *o, const struct spec *s, va_list *ap)
{
    s64 v = s->length == 8 ? va_arg(*ap, s64) : va_arg(*ap, int);
    if (s->length == 1)
        v = (s8)v;
    else if (s->length == 2)
        v = (s16)v;
    const char *sign = v < 0 ? "-" : s->plus ? "+" : s->space ? " " : "";
    put_number(o, s, v < 0 ? -(u64)v : (u64)v, 10, sign);
}

static void put_unsigned(struct out *o, const struct spec *s, char conversion, va_list *ap)
{
    u64 v = s->length == 8 ? va_arg(*ap, u64) : va_arg(*ap, u32);
    if (s->length == 1)
        v = (u8)v;
    else if (s->length == 2)
        v = (u16)v;
    u32 base = conversion == 'u' ? 10 : conversion == 'o' ? 8 : 16;
    const char *prefix = "";
    if (s->alt && v && base != 10)
        prefix = base == 8 ? "0" : s->upper ? "0X" : "0x";
    put_number(o, s, v, base, prefix);
}

static void put_string(struct out *o, const struct spec *s, const char *text)
{
    if (!text)
        text = "(null)";
    put_text(o, s, text, s->precision >= 0 ? strnlen(text, s->precision) : strlen(text));
}

static void convert(struct out *o, struct spec *s, char conversion, va_list *ap)
{
    char c;
    switch (conversion) {
    case 'd':
    case 'i':
        put_signed(o, s, ap);
        break;
    case 'X':
        s->upper = true;
        /* fall through */
    case 'u':
    case 'o':
    case 'x':
        put_unsigned(o, s, conversion, ap);
        break;
    case 'p':
        put_number(o, s, (u64)va_arg(*ap, void *), 16, "0x");
        break;
    case 'c':
        c = va_arg(*ap, int);
        put_text(o, s, &c, 1);
        break;
    case 's':
        put_string(o, s, va_arg(*ap, const char *));
        break;
    default:
        put(o, conversion);
    }
}

int vsnprintf(char *buf, size_t size, const char *fmt, va_list args)
{
    struct out o = {.buf = buf, .size = size};
    va_list ap;
    va_copy(ap, args);
    while (*fmt) {
        if (*fmt != '%') {
            put(&o, *fmt++);
            continue;
        }
        struct spec s;
        fmt = parse_spec(fmt + 1, &s, &ap);
        if (!*fmt)
            break;
        convert(&o, &s, *fmt++, &ap);
    }
    va_end(ap);
    if (size)
        buf[o.len < size ? o.len : size - 1] = 0;
    return o.len;
}

int snprintf(char *buf, size_t size, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(buf, size, fmt, ap);
    va_end(ap);
    return n;
}
